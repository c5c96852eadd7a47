"""Leaves a process behind that has no parent, no environment and nothing open."""

import os
import time

from hostile import LONG, child, wait


def daemon():
    if os.fork():
        os._exit(0)
    os.environ.clear()
    os.closerange(0, 64)
    time.sleep(LONG)


def run(payload):
    wait(child(daemon))
    return {}
