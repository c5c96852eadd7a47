"""Has an alarm end it between its calls."""

import os
import signal

signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)


def run(payload):
    return {"ran": True}
