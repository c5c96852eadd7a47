"""Sends half a frame and goes to sleep."""

import time

from hostile import LONG, frame, send

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


def run(payload):
    send(frame(b"R")[:6])
    time.sleep(LONG)
