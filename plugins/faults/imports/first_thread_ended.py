"""Leaves children behind whose first threads have ended, and whose others hold memory."""

import threading
import time

from hostile import LONG, MIB, child, obtained, syscall, touched

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
EACH, CHILDREN = 60, 6


def take():
    time.sleep(0.02)
    block = touched(bytearray(EACH * MIB))
    time.sleep(LONG)
    return block


def lose_the_first():
    threading.Thread(target=take).start()
    syscall(60, 93, 0)


for _ in range(CHILDREN):
    child(lose_the_first)
time.sleep(1)


def run(payload):
    time.sleep(0.5)
    return obtained(f"{EACH * CHILDREN} MiB in children of the import")
