"""Leaves a child behind whose first thread has ended, and whose other one holds memory."""

import threading
import time

from hostile import LONG, MIB, child, obtained, syscall, touched

LIMITS = {"wall_seconds": 4, "memory_mb": 64}
SIZE = 300


def take():
    time.sleep(0.02)
    block = touched(bytearray(SIZE * MIB))
    time.sleep(LONG)
    return block


def lose_the_first():
    threading.Thread(target=take).start()
    syscall(60, 93, 0)


child(lose_the_first)
time.sleep(0.8)


def run(payload):
    time.sleep(0.5)
    return obtained(f"{SIZE} MiB in a child of the import")
