"""Leaves children that have ended and that nobody has waited for."""

import time

from hostile import child


def run(payload):
    for _ in range(5):
        child(lambda: None)
    time.sleep(0.1)
    return {}
