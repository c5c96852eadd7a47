"""Stops itself while it is imported."""

import os
import signal

LIMITS = {"wall_seconds": 1, "load_seconds": 1}

os.kill(os.getpid(), signal.SIGSTOP)


def run(payload):
    return {"ran": True}
