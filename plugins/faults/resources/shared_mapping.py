"""Takes more memory than its limit as a shared mapping."""

import mmap
import time

from hostile import LONG, MIB, obtained, touched

LIMITS = {"wall_seconds": 3, "memory_mb": 96}


def run(payload):
    area = touched(mmap.mmap(-1, 200 * MIB))
    time.sleep(LONG)
    return obtained(f"{len(area) // MIB} MiB of shared memory")
