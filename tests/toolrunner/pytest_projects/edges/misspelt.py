# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "misspelt"
# version = "1.0.0"
# description = "Its manifest has an unknown key"
# input = "json"
# netwrok = true
# ///
"""Its manifest has an unknown key."""


def run(payload):
    return {}
