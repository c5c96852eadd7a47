"""Ends the first thread of a process that holds memory, which /proc then shows as a zombie."""

import mmap
import os
import select
import threading
import time

from hostile import ALLOWED, HOLD, LONG, MIB, bounded, child, obtained, reply, syscall, touched

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
EACH = 60  # MiB: what the kernel's own limit lets a process have
CHILDREN = 6


def alone(work):
    """Have another thread do something once this one, the first, has ended."""

    def later():
        time.sleep(0.02)
        work()

    threading.Thread(target=later).start()
    syscall(60, 93, 0)


def take():
    block = touched(bytearray(EACH * MIB))
    os.write(said, b"x")
    time.sleep(LONG)
    return block


def itself():
    def work():
        try:
            block = touched(mmap.mmap(-1, 5 * EACH * MIB))
        except OSError:
            reply(bounded(0, "EPERM"))
        time.sleep(HOLD)
        reply(obtained(f"{len(block) // MIB} MiB"))

    alone(work)


def in_children():
    for _ in range(CHILDREN):
        child(lambda: alone(take))
    return wait_and_tell()


def in_tree():
    def branch():
        for _ in range(CHILDREN // 2 - 1):
            child(lambda: alone(take))
        alone(take)

    child(branch)
    child(branch)
    return wait_and_tell()


def wait_and_tell():
    """Count those that have what they wanted; the rest have met a limit."""
    taken = 0
    while select.select([hears], [], [], HOLD + 2)[0]:
        taken += len(os.read(hears, CHILDREN)) * EACH * MIB
        if taken == CHILDREN * EACH * MIB:
            time.sleep(HOLD)
            break
    return obtained(f"{taken // MIB} MiB") if taken > ALLOWED else bounded(taken, "ENOMEM")


VARIANTS = {"its own": itself, "of children": in_children, "of a tree": in_tree}


def run(payload):
    global hears, said
    hears, said = os.pipe()
    return VARIANTS[payload["variant"]]()
