"""Maps tens of thousands of pieces while it is imported, in children that stay."""

import mmap
import os
import time

from hostile import LONG, PAGE, called, child, libc, mapped, obtained

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
PIECES = 60_000
CHILDREN = 25


def cut_up():
    start = mapped(PAGE * PIECES, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    for at in range(start, start + PAGE * PIECES, 2 * PAGE):
        called(libc.mprotect, at, PAGE, mmap.PROT_READ)
    os.write(said, b"x")
    time.sleep(LONG)


hears, said = os.pipe()
for _ in range(CHILDREN):
    child(cut_up)
for _ in range(CHILDREN):
    os.read(hears, 1)
time.sleep(0.2)


def run(payload):
    return obtained(f"{PIECES * CHILDREN} mappings")
