# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "demanding"
# version = "1.0.0"
# description = "Asks for a layer that no kernel has"
# input = "json"
# require = ["landlock:99"]
# ///
"""Asks for a layer that no kernel has."""


def run(payload):
    return {}
