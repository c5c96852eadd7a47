"""Replies, and then gives back a file that was not there when it did."""

import struct
import time

from hostile import LONG, frame, send


def run(payload):
    head = b'{"name": "a", "mime_type": "image/png"}'
    send(frame(b"R"), frame(b"A", struct.pack(">I", len(head)) + head))
    time.sleep(LONG)
