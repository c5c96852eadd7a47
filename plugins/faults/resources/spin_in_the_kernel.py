"""Uses processor time that the kernel spends for it."""

import mmap
import os
import time

from hostile import MIB, child, obtained, wait

LIMITS = {"wall_seconds": 60, "cpu_seconds": 0.5, "memory_mb": 128}
TOTAL = 3.0


def until(step):
    end = time.process_time() + TOTAL
    while time.process_time() < end:
        step()


def copies():
    room = bytearray(32 * MIB)
    with open("/dev/zero", "rb", buffering=0) as zero:
        until(lambda: zero.readinto(room))


def maps():
    def step():
        with mmap.mmap(-1, 8 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000):  # populated
            pass

    until(step)


def forks():
    end = time.monotonic() + 2 * TOTAL
    while time.monotonic() < end:
        wait(child(lambda: os._exit(0)))


VARIANTS = {"copies": copies, "maps": maps, "forks": forks}


def run(payload):
    VARIANTS[payload["variant"]]()
    return obtained(f"{TOTAL} s of processor time")
