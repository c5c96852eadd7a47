"""Leaves an object whose finalizer hangs."""

import time

from hostile import LONG

kept = []


class Final:
    def __del__(self):
        time.sleep(LONG)


def run(payload):
    kept.append(Final())
    return {}
