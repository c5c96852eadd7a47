"""Starts a thread while it is imported, and keeps it."""

import threading
import time

from hostile import LONG

threading.Thread(target=time.sleep, args=(LONG,)).start()


def run(payload):
    return {"ran": True}
