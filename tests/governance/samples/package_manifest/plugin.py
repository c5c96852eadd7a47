"""A folder that is its own package, and imports itself both ways."""

from package_manifest.numbers_of import ONE

from .numbers_of import TWO


class Plugin:
    def run(self, payload):
        return {"sum": ONE + TWO + payload.get("more", 0)}
