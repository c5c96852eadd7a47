# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "word-count"
# version = "1.0.0"
# description = "Counts words, and says so when it had no time for all of them"
# input = "json"
# limits = { wall_seconds = 30 }
# ///
"""Counts words, and says so when it had no time for all of them."""

import time


def run(payload, context):
    words, work = 0, bytearray(payload.get("megabytes", 0) << 20)
    for word in payload["text"].split():
        if context.seconds_left() < payload.get("spare_seconds", 0):
            return {"words": words, "complete": False, "memory": len(work)}
        words += bool(word)
        end = time.process_time() + payload.get("effort", 0)
        while time.process_time() < end:
            pass
    return {"words": words, "complete": True, "memory": len(work)}
