"""Ends the first thread of a process that holds memory, which /proc then shows as a zombie."""

import os
import threading
import time

from hostile import HOLD, LONG, MIB, child, obtained, reply, syscall, touched

LIMITS = {"wall_seconds": 4, "memory_mb": 64}
SIZE = 300


def alone(work):
    """Have another thread do something once this one, the first, has ended."""

    def later():
        time.sleep(0.02)
        work()

    threading.Thread(target=later).start()
    syscall(60, 93, 0)


def take(size):
    block = touched(bytearray(size * MIB))
    time.sleep(LONG)
    return block


def itself():
    def work():
        block = touched(bytearray(SIZE * MIB))
        time.sleep(HOLD)
        reply(obtained(f"{len(block) // MIB} MiB"))

    alone(work)


def in_child():
    child(lambda: alone(lambda: take(SIZE)))
    return wait_and_tell()


def in_tree():
    def branch():
        child(lambda: alone(lambda: take(SIZE // 4)))
        alone(lambda: take(SIZE // 4))

    child(branch)
    child(branch)
    return wait_and_tell()


def wait_and_tell():
    time.sleep(HOLD + 0.6)
    return obtained(f"{SIZE} MiB in children")


VARIANTS = {"its own": itself, "a child's": in_child, "of a tree": in_tree}


def run(payload):
    return VARIANTS[payload["variant"]]()
