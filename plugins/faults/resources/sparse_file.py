"""Makes a file of a gigabyte out of nothing."""

from hostile import MIB, obtained

LIMITS = {"wall_seconds": 3, "scratch_mb": 4}


def run(payload):
    with open("fill", "wb") as file:
        file.truncate(1024 * MIB)
    return obtained("a file of 1 GiB")
