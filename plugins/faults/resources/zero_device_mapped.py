"""Takes memory by mapping /dev/zero shared, and lets go of it where it can be seen."""

import mmap
from functools import partial

from hostile import MIB, dropped, hold, split, touched, unmapped

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
SIZE = 16 * MIB


def areas(kept):
    while True:
        with open("/dev/zero", "r+b", buffering=0) as zero:
            kept.append(touched(mmap.mmap(zero.fileno(), SIZE)))
        yield SIZE


VARIANTS = {
    "dropped": partial(dropped, areas),
    "all but a page unmapped": partial(unmapped, areas),
    "dropped by children": split(partial(dropped, areas)),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
