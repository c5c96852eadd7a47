"""Uses more processor time than its limit, in one thread."""

from hostile import LONG, obtained, spin

LIMITS = {"wall_seconds": 15, "cpu_seconds": 0.6}


def run(payload):
    spin(LONG)
    return obtained(f"{LONG} s of processor time")
