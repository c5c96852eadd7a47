"""Takes more memory than its limit, and uses it."""

from hostile import MIB, obtained, touched

LIMITS = {"wall_seconds": 8, "memory_mb": 96}


def run(payload):
    blocks = [touched(bytearray(4 * MIB)) for _ in range(60)]
    return obtained(f"{len(blocks) * 4} MiB of heap")
