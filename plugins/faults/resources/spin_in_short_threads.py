"""Uses processor time in threads that are gone before anybody looks."""

import threading
import time

from hostile import child, obtained, wait

LIMITS = {"wall_seconds": 60, "cpu_seconds": 0.5}
SHORT = 0.004
TOTAL = 3.0
TIMES = int(TOTAL / SHORT)


def work():
    end = time.thread_time() + SHORT
    while time.thread_time() < end:
        pass


def threads(times=TIMES):
    for _ in range(times):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def in_children():
    for _ in range(50):
        wait(child(lambda: threads(TIMES // 50)))


def in_parallel():
    for _ in range(TIMES // 10):
        group = [threading.Thread(target=work) for _ in range(10)]
        for thread in group:
            thread.start()
        for thread in group:
            thread.join()


VARIANTS = {"one by one": threads, "ten at once": in_parallel, "of short children": in_children}


def run(payload):
    VARIANTS[payload["variant"]]()
    return obtained(f"{TOTAL} s of processor time")
