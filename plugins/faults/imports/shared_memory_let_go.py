"""Takes shared memory while it is imported, and lets go of it."""

import mmap

from hostile import ALLOWED, CEILING, MIB, bounded, obtained, touched

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
SIZE = 32 * MIB

kept = []
try:
    for _ in range(CEILING // SIZE):
        kept.append(touched(mmap.mmap(-1, SIZE)))
        kept[-1].madvise(mmap.MADV_DONTNEED)
except OSError:
    pass


def run(payload):
    taken = len(kept) * SIZE
    return obtained(f"{taken // MIB} MiB") if taken > ALLOWED else bounded(taken, "EPERM")
