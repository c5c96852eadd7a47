"""Takes memory by mapping /dev/zero shared, and lets go of it where it can be seen."""

import mmap

from hostile import MIB, PAGE, address, called, hold, libc, split, touched

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
SIZE = 16 * MIB


def areas(kept):
    while True:
        with open("/dev/zero", "r+b", buffering=0) as zero:
            kept.append(touched(mmap.mmap(zero.fileno(), SIZE)))
        yield SIZE


def dropped(kept):
    for more in areas(kept):
        kept[-1].madvise(mmap.MADV_DONTNEED)
        yield more


def unmapped(kept):
    for more in areas(kept):
        called(libc.munmap, address(kept[-1]) + PAGE, SIZE - PAGE)
        yield more


VARIANTS = {
    "dropped": dropped,
    "all but a page unmapped": unmapped,
    "dropped by children": split(dropped),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
