"""A class with run_tool(tool, args) over a table of tools."""

import base64

from app.plugins.base import BasePlugin


class Plugin(BasePlugin):
    name = "toolbox"
    version = "2.0.0"
    description = "Several tools"

    def __init__(self):
        self.tools = {
            "add": {"handler": self.add, "description": "Adds", "input_schema": {}},
            "measure": {"handler": self.measure, "description": "Counts bytes"},
            "words": self.words,
        }
        super().__init__()

    def run_tool(self, tool_name: str, args: dict):
        entry = self.tools[tool_name]
        handler = entry["handler"] if isinstance(entry, dict) else entry
        return handler(**args)

    def add(self, a: int, b: int = 1):
        return {"sum": a + b}

    def measure(self, image_base64: str):
        return {"bytes": len(base64.b64decode(image_base64))}

    def words(self, text: str):
        return text.split()
