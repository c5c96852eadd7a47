"""Leaves a process that goes on writing to the scratch after the reply."""

import time

from hostile import LONG, child


def write_on():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        with open("late", "w") as file:
            file.write("x")


def run(payload):
    child(lambda: child(write_on))
    return {}
