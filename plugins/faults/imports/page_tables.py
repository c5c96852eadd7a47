"""Takes memory as page tables while it is imported, for all its calls."""

import ctypes
import mmap

from hostile import CEILING, MIB, PAGE, called, libc, mapped, obtained

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
REACH = 2 * MIB
SIZE = CEILING // PAGE * REACH

start = mapped(SIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
called(libc.madvise, start, SIZE, 15)
for at in range(start, start + SIZE, REACH):
    ctypes.string_at(at, 1)


def run(payload):
    return obtained(f"{CEILING // MIB} MiB of page tables")
