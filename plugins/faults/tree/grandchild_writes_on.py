"""Leaves a process that goes on writing to stdout."""

import os
import time

from hostile import LONG, child


def write_on():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        os.write(1, bytes(4096))


def run(payload):
    child(write_on)
    return {}
