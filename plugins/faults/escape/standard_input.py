"""Reads what somebody types."""

import os

from hostile import found, tried


def run(payload):
    return tried(stdin=lambda: found(os.read(0, 10)))
