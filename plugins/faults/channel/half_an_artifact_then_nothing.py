"""Announces a file, sends half of it, and waits."""

import struct
import time

from hostile import LONG, MIB, send

LIMITS = {"wall_seconds": 0.5}


def run(payload):
    head = b'{"name": "a", "mime_type": "image/png"}'
    send(b"A", struct.pack(">II", 4 + len(head) + MIB, len(head)), head, bytes(MIB // 2))
    time.sleep(LONG)
