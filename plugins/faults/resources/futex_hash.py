"""Takes the kernel's memory as a table of its own for futexes."""

from hostile import MIB, called, hold, libc, split

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
BUCKET = 64
SET_SLOTS = 1
PR_FUTEX_HASH = 78


def table(kept, size=256 * MIB):
    called(libc.prctl, PR_FUTEX_HASH, SET_SLOTS, size // BUCKET, 0, 0)
    yield size


def growing(kept):
    size = MIB
    while True:
        called(libc.prctl, PR_FUTEX_HASH, SET_SLOTS, size // BUCKET, 0, 0)
        yield size
        size *= 2


def small(kept):
    return table(kept, 16 * MIB)


VARIANTS = {"one": table, "one that grows": growing, "of children": split(small, 24)}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
