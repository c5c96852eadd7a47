"""Sends a good reply, then crashes."""

import os

from hostile import frame, send


def run(payload):
    send(frame(b"R"))
    os.abort()
