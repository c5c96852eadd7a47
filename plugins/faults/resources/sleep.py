"""Does nothing for longer than its limit."""

import time

from hostile import LONG, obtained

LIMITS = {"wall_seconds": 1}


def run(payload):
    time.sleep(LONG)
    return obtained(f"{LONG} s")
