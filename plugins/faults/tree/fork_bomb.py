"""Forks, and so do all its children."""

import os
import time

from hostile import obtained

LIMITS = {"wall_seconds": 8, "memory_mb": 128, "cpu_seconds": 0.6, "processes": 8, "threads": 16}
SECONDS = 5


def run(payload):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
    return obtained(f"{SECONDS} seconds of forking")
