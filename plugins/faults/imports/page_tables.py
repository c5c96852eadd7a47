"""Takes memory as page tables while it is imported, for all its calls."""

import ctypes
import mmap

from hostile import ALLOWED, CEILING, MIB, PAGE, bounded, called, libc, mapped, obtained

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
REACH = 2 * MIB
SIZE = 1024 * REACH

taken = 0
try:
    while taken < CEILING:
        start = mapped(SIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
        called(libc.madvise, start, SIZE, 15)
        for at in range(start, start + SIZE, REACH):
            ctypes.string_at(at, 1)
        taken += SIZE // REACH * PAGE
except OSError:
    pass


def run(payload):
    return obtained(f"{taken // MIB} MiB") if taken > ALLOWED else bounded(taken, "ENOMEM")
