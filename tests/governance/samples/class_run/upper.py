"""A class with run(payload), of another name than Toolrunner's."""

from app.plugins.base import BasePlugin


class UpperPlugin(BasePlugin):
    """Says it louder."""

    name = "upper_case"
    version = "1.2.0"
    description = "Upper case"

    def __init__(self):
        super().__init__()
        self.suffix = ""

    def on_load(self):
        self.suffix = "!"

    def run(self, payload):
        return {"text": payload["text"].upper() + self.suffix}
