"""Starts more threads than its limit, and keeps them."""

import threading
import time

from hostile import LONG, obtained

LIMITS = {"wall_seconds": 3, "threads": 6}


def run(payload):
    for _ in range(12):
        threading.Thread(target=time.sleep, args=(LONG,)).start()
    time.sleep(LONG)
    return obtained("12 threads")
