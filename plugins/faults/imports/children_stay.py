"""Starts a process while it is imported, and keeps it."""

import time

from hostile import LONG, child

child(lambda: time.sleep(LONG))


def run(payload):
    return {"ran": True}
