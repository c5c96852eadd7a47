"""Has an alarm that keeps it busy from then on."""

import signal

LIMITS = {"wall_seconds": 2, "cpu_seconds": 0.6}


def spin(*_):
    while True:
        pass


signal.signal(signal.SIGALRM, spin)
signal.setitimer(signal.ITIMER_REAL, 0.05)


def run(payload):
    return {"ran": True}
