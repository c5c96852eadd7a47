"""Has an alarm fork it between its calls, again and again."""

import os
import signal


def grow(*_):
    if os.fork() == 0:
        while True:
            signal.pause()


signal.signal(signal.SIGALRM, grow)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.01)


def run(payload):
    return {"ran": True}
