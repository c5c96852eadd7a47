"""Announces a file, sends half of it, and returns as if all were well."""

import struct

from hostile import MIB, send


def run(payload):
    head = b'{"name": "a", "mime_type": "image/png"}'
    send(b"A", struct.pack(">II", 4 + len(head) + MIB, len(head)), head, bytes(MIB // 2))
    return {}
