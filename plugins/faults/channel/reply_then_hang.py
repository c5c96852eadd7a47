"""Sends a good reply, then hangs."""

import time

from hostile import LONG, frame, send


def run(payload):
    send(frame(b"R"))
    time.sleep(LONG)
