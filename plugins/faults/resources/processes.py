"""Starts more processes than its limit, and keeps them."""

import time

from hostile import LONG, child, obtained

LIMITS = {"wall_seconds": 3, "processes": 6}


def run(payload):
    for _ in range(12):
        child(lambda: time.sleep(LONG))
    time.sleep(LONG)
    return obtained("12 processes")
