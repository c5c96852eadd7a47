"""Announces an artifact of two gigabytes and sends and sends."""

import struct

from hostile import send


def run(payload):
    head = b'{"name": "a", "mime_type": "image/png"}'
    send(b"A", struct.pack(">II", 2**31, len(head)), head)
    while True:
        send(bytes(65536))
