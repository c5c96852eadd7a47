"""Uses processor time in orphans that live too shortly to be seen."""

import os
import signal
import time

from hostile import child, obtained, spin, wait

LIMITS = {"wall_seconds": 60, "cpu_seconds": 0.5}
SHORT = 0.008
TOTAL = 3.0
TIMES = int(TOTAL / SHORT)


def orphan():
    wait(child(lambda: child(lambda: spin(SHORT))))


def one_by_one():
    for _ in range(TIMES):
        orphan()
        time.sleep(SHORT)


def chain():
    """Each the parent of the next, which it does not wait for."""

    def link(left):
        spin(SHORT)
        if left and os.fork() == 0:
            link(left - 1)
        os._exit(0)

    wait(child(lambda: link(TIMES)))
    time.sleep(TOTAL + 1)


def of_ignored_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(TIMES):
        child(lambda: spin(SHORT))
        time.sleep(SHORT)


VARIANTS = {
    "one by one": one_by_one,
    "each of the one before": chain,
    "of a parent that ignores them": of_ignored_children,
}


def run(payload):
    VARIANTS[payload["variant"]]()
    return obtained(f"{TOTAL} s of processor time")
