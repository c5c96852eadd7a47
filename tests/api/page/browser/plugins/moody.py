# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "moody"
# version = "2.1.0"
# description = "Works, fails or ends as it is told"
# input = "json"
# limits = { wall_seconds = 20, memory_mb = 256 }
# ///
"""Do as the payload says, for tests of what fails."""

import os
import time


def run(payload, context):
    time.sleep(payload.get("seconds", 0))
    while payload.get("wait"):
        time.sleep(0.01)
    if payload.get("fail") == "bug":
        raise ValueError("told to")
    if payload.get("fail") == "crash":
        os._exit(3)
    return {"got": payload}
