"""Takes the kernel's memory as timers that never end and signals that are never taken."""

import os
import signal

from hostile import address, called, hold, libc, split, syscall

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
BATCH = 1000


def timers(kept):
    number = bytearray(8)
    while True:
        for _ in range(BATCH):
            syscall(222, 107, 1, 0, address(number))
        yield 256 * BATCH


def signals(kept):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
    while True:
        for _ in range(BATCH):
            called(libc.sigqueue, os.getpid(), int(signal.SIGRTMIN), 0)
        yield 80 * BATCH


VARIANTS = {"timers": timers, "signals": signals, "timers of children": split(timers)}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
