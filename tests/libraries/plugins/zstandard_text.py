# /// script
# requires-python = ">=3.11"
# dependencies = ["zstandard"]
# [tool.toolrunner]
# name = "zstandard-text"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "again and " }] }
# warm_up = true
# ///
"""A text compressed and back, with zstandard."""

import zstandard


def run(payload):
    text = payload["text"] * 1000
    packed = zstandard.compress(text.encode())
    return {"smaller": len(packed) < 100, "same": zstandard.decompress(packed).decode() == text}
