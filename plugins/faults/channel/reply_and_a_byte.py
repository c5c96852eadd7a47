"""Sends a whole reply and one byte more."""

import os

from hostile import frame, send


def run(payload):
    send(frame(b"R"), b"x")
    os._exit(0)
