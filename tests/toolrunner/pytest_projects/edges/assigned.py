# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "assigned"
# version = "1.0.0"
# description = "Its run is assigned"
# input = "json"
# ///
"""Its run is assigned."""


def answer(payload):
    return {"answer": 42}


run = answer
