"""Has an alarm end it between its calls."""

import os
import signal

owner = os.getpid()


def begin():
    # By the first fork the import is over: a slow machine would meet the alarm in it.
    if os.getpid() == owner:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)


signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
os.register_at_fork(after_in_parent=begin)


def run(payload):
    return {"ran": True}
