# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "static"
# version = "1.0.0"
# description = "Its run is a static method"
# input = "json"
# ///
"""Its run is a static method."""


class Plugin:
    @staticmethod
    def run(payload):
        return {"answer": 42}
