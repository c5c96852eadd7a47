"""Uses more processor time than its limit, in children that stay below it."""

from hostile import child, obtained, spin, wait

LIMITS = {"wall_seconds": 15, "cpu_seconds": 0.6}


def run(payload):
    wait(*[child(lambda: spin(5)) for _ in range(4)])
    return obtained("20 s of processor time in children")
