"""A plugin without any metadata that imports the file beside it."""

import factors


class ScalePlugin:
    name = "scale"

    def run(self, payload):
        return {"scaled": payload["number"] * factors.FACTOR}
