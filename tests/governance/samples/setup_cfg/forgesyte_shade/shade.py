"""The plugin of a distribution that setup.cfg describes, in a package without __init__.py."""


class ShadePlugin:
    def analyze(self, image_data, mime_type, options=None):
        return {"mean": sum(image_data) / len(image_data), "type": mime_type}
