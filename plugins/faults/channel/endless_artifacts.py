"""Gives back 10,000 files, each of them small."""

import struct
import time

from hostile import LONG, frame, send


def run(payload):
    for number in range(10_000):
        head = b'{"name": "a%d", "mime_type": "image/png"}' % number
        send(frame(b"A", struct.pack(">I", len(head)) + head + b"x"))
    time.sleep(LONG)
