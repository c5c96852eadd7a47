"""Fills /dev/shm beyond its scratch."""

from hostile import MIB, tried

LIMITS = {"wall_seconds": 3, "scratch_mb": 4}
SIZE = 8


def fill():
    with open("/dev/shm/fill", "wb", buffering=0) as file:
        for _ in range(SIZE):
            file.write(bytes(MIB))
    return f"{SIZE} MiB"


def run(payload):
    return tried(fill=fill)
