"""Splits more memory than its limit over children that stay below it."""

import time

from hostile import LONG, MIB, child, obtained, touched, wait

LIMITS = {"wall_seconds": 3, "memory_mb": 96}


def take():
    block = touched(bytearray(40 * MIB))
    time.sleep(LONG)
    return block


def run(payload):
    wait(*[child(take) for _ in range(4)])
    return obtained("160 MiB in children")
