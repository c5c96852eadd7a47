"""Sends a good reply, one byte at a time."""

import os
import time

from hostile import frame, send


def run(payload):
    for byte in frame(b"R", b'{"a": 1}'):
        send(bytes([byte]))
        time.sleep(0.01)
    os._exit(0)
