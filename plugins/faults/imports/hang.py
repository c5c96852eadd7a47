"""Hangs while it is imported."""

import time

from hostile import LONG

LIMITS = {"wall_seconds": 1, "load_seconds": 1}

time.sleep(LONG)


def run(payload):
    return {"ran": True}
