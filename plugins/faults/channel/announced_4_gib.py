"""Announces the largest frame there is, and sends nothing of it."""

import struct
import time

from hostile import LONG, send


def run(payload):
    send(b"R", struct.pack(">I", 2**32 - 1))
    time.sleep(LONG)
