"""Returns more than a reply may hold."""

from hostile import MIB

LIMITS = {"output_mb": 1}


def run(payload):
    return {"x": "x" * (2 * MIB)}
