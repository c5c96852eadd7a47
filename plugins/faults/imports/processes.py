"""Starts more processes than its limit while it is imported."""

import time

from hostile import LONG, child, obtained

LIMITS = {"wall_seconds": 8, "load_seconds": 8, "processes": 8, "threads": 16}

for _ in range(20):
    child(lambda: time.sleep(LONG))
time.sleep(LONG)


def run(payload):
    return obtained("20 processes")
