"""Interrupts itself ten thousand times a second."""

import signal

from hostile import spin


def run(payload):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    spin(0.2)
    return {}
