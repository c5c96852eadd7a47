"""Leaves a thread that keeps an interpreter from ending."""

import threading
import time

from hostile import LONG


def run(payload):
    threading.Thread(target=time.sleep, args=(LONG,)).start()
    return {}
