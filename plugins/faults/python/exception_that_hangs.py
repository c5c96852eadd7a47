"""Raises an exception whose text hangs."""

import time

from hostile import LONG

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


class Odd(Exception):
    def __str__(self):
        time.sleep(LONG)
        return ""


def run(payload):
    raise Odd
