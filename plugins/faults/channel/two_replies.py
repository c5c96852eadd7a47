"""Sends two replies in one go."""

import time

from hostile import LONG, frame, send


def run(payload):
    send(frame(b"R"), frame(b"R"))
    time.sleep(LONG)
