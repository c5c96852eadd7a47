"""Leaves a process that holds stdout and stderr open."""

import time

from hostile import LONG, child


def run(payload):
    child(lambda: child(lambda: time.sleep(LONG)))
    return {}
