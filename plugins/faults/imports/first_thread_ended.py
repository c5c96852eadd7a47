"""Leaves children behind whose first threads have ended, and whose others hold memory."""

import os
import select
import threading
import time

from hostile import ALLOWED, LONG, MIB, bounded, child, obtained, syscall, touched

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
EACH, CHILDREN = 60, 6


def take():
    time.sleep(0.02)
    block = touched(bytearray(EACH * MIB))
    os.write(said, b"x")
    time.sleep(LONG)
    return block


def lose_the_first():
    threading.Thread(target=take).start()
    syscall(60, 93, 0)


hears, said = os.pipe()
for _ in range(CHILDREN):
    child(lose_the_first)
taken = 0
while taken < CHILDREN * EACH and select.select([hears], [], [], 2)[0]:
    taken += EACH * len(os.read(hears, CHILDREN))
os.close(hears)
os.close(said)
time.sleep(0.5)


def run(payload):
    time.sleep(0.5)
    if taken * MIB <= ALLOWED:
        return bounded(taken * MIB, "ENOMEM")
    return obtained(f"{taken} MiB in children of the import")
