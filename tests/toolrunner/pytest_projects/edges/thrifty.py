# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "thrifty"
# version = "1.0.0"
# description = "Does with less where memory is short"
# input = "json"
# ///
"""Does with less where memory is short."""


def run(payload):
    try:
        return {"table": len(bytearray(4 << 20))}
    except MemoryError:
        return {"table": 0}
