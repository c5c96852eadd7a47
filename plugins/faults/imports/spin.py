"""Uses processor time without an end while it is imported."""

from hostile import LONG, spin

LIMITS = {"wall_seconds": 1, "load_seconds": 1}

spin(LONG)


def run(payload):
    return {"ran": True}
