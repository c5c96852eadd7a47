"""Stops its whole process group, a child included."""

import os
import signal
import time

from hostile import LONG, child

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


def run(payload):
    child(lambda: time.sleep(LONG))
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGSTOP)
    return {}
