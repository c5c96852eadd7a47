"""Writes a file that is larger than its scratch."""

from hostile import MIB, obtained

LIMITS = {"wall_seconds": 3, "scratch_mb": 4}


def run(payload):
    with open("fill", "wb", buffering=0) as file:
        for _ in range(8):
            file.write(bytes(MIB))
    return obtained("8 MiB of scratch")
