"""Imports at once, and hangs while it is constructed."""

import time

from hostile import LONG

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


class Plugin:
    def __init__(self):
        time.sleep(LONG)

    def run(self, payload):
        return {"ran": True}
