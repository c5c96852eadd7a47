"""Takes the kernel's memory as tens of thousands of mappings of nothing."""

import mmap

from hostile import LESS, PAGE, called, hold, libc, mapped, split

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
MAPPING = 232  # bytes, at least
BATCH = 1000
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE


def single(kept):
    """Neighbours of different rights are never made one."""
    start = mapped(PAGE * 60_000, 0, FLAGS)
    for batch in range(start, start + PAGE * 60_000, PAGE * BATCH):
        for at in range(batch, batch + PAGE * BATCH, 2 * PAGE):
            called(libc.mprotect, at, PAGE, mmap.PROT_READ)
        yield MAPPING * BATCH


def of_a_file(kept):
    with open("/proc/self/exe", "rb") as file:
        for _ in range(60):
            for _ in range(BATCH):
                mapped(PAGE, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno())
            yield MAPPING * BATCH


VARIANTS = {
    "of nothing": split(single, 16, LESS),
    "of a file": split(of_a_file, 16, LESS),
    "of many children": split(single, 30, LESS),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
