"""Takes more memory than its limit while it is imported."""

from hostile import MIB, obtained

LIMITS = {"wall_seconds": 8, "memory_mb": 128}

kept = [bytearray(MIB) for _ in range(400)]


def run(payload):
    return obtained(f"{len(kept)} MiB")
