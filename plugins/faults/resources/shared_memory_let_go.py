"""Takes shared memory and lets go of it, so that it shows in no process and stays all the same."""

import mmap
from functools import partial

from hostile import MIB, PAGE, address, called, child, dropped, hold, libc, touched, unmapped

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
SIZE = 32 * MIB


def areas(kept):
    while True:
        kept.append(touched(mmap.mmap(-1, SIZE)))
        yield SIZE


def left_to_a_child(kept):
    def keep_a_page(start):
        called(libc.munmap, start + PAGE, SIZE - PAGE)
        called(libc.pause)

    for more in areas(kept):
        start = address(kept[-1])
        child(lambda at=start: keep_a_page(at))
        called(libc.munmap, start, SIZE)
        yield more


VARIANTS = {
    "dropped": partial(dropped, areas),
    "all but a page unmapped": partial(unmapped, areas),
    "left to a child": left_to_a_child,
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
