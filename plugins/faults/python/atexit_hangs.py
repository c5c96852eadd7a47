"""Leaves an exit handler that hangs."""

import atexit
import time

from hostile import LONG


def run(payload):
    atexit.register(time.sleep, LONG)
    return {}
