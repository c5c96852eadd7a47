"""Sends the first byte of a frame and ends."""

import os

from hostile import send


def run(payload):
    send(b"R")
    os._exit(0)
