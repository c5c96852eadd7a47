"""Has an alarm that keeps it busy from the first fork on."""

import os
import signal

LIMITS = {"wall_seconds": 2, "cpu_seconds": 0.6}


def spin(*_):
    while True:
        pass


def begin():
    signal.setitimer(signal.ITIMER_REAL, 0.05)


signal.signal(signal.SIGALRM, spin)
# By the first fork it is loaded, on a slow machine too.
os.register_at_fork(after_in_parent=begin)


def run(payload):
    return {"ran": True}
