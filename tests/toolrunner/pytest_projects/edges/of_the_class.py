# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "of-the-class"
# version = "1.0.0"
# description = "Its run is a class method"
# input = "json"
# ///
"""Its run is a class method."""


class Plugin:
    @classmethod
    def run(cls, payload):
        return {"answer": 42}
