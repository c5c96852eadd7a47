"""Takes more memory than its limit while it hides from /proc."""

import mmap
import time

from hostile import LONG, MIB, libc, obtained, touched

LIMITS = {"wall_seconds": 3, "memory_mb": 128}
PR_SET_DUMPABLE = 4


def run(payload):
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    area = touched(mmap.mmap(-1, 300 * MIB))
    time.sleep(LONG)
    return obtained(f"{len(area) // MIB} MiB, hidden")
