# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "count"
# version = "1.0.0"
# description = "Counts"
# input = "json"
# ///
"""Counts."""


def run(payload):
    return {"count": len(payload)}
