"""Makes itself so hard to measure that nothing else is looked at meanwhile."""

import mmap
import os
import threading
import time

from hostile import LONG, MIB, PAGE, called, child, libc, mapped, obtained

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 128, "threads": 64}
CHILDREN = 30
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
SECONDS = 2


def cut_up(pieces):
    start = mapped(PAGE * pieces, mmap.PROT_READ, FLAGS)
    for at in range(start, start + PAGE * pieces, 2 * PAGE):
        called(libc.mprotect, at, PAGE, mmap.PROT_READ | mmap.PROT_WRITE)


def stay():
    time.sleep(SECONDS)


def mappings():
    """More of them than memory allows."""
    hears, said = os.pipe()
    for _ in range(CHILDREN):
        child(lambda: (cut_up(40_000), os.write(said, b"x"), time.sleep(LONG)))
    for _ in range(CHILDREN):
        os.read(hears, 1)
    stay()


def threads():
    """Half of what it may have in each of two children."""
    for _ in range(CHILDREN // 2):
        child(lambda: ([threading.Thread(target=stay).start() for _ in range(3)], stay()))
    stay()


def shared_pages():
    """Many that hold the same memory: the exact figure is wanted each time, and never too large."""
    block = bytearray(20 * MIB)
    for _ in range(CHILDREN):
        child(lambda: (cut_up(4_000), stay(), len(block)))
    stay()


VARIANTS = {"mappings": mappings, "threads": threads, "shared pages": shared_pages}


def run(payload):
    VARIANTS[payload["variant"]]()
    return (
        obtained("two seconds with a hundred thousands of mappings")
        if payload["variant"] == "mappings"
        else {}
    )
