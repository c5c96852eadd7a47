"""Ignores SIGTERM, and every other signal that can be ignored."""

import signal
import time

from hostile import LONG

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


def run(payload):
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    time.sleep(LONG)
    return {}
