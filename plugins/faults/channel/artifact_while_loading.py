"""Gives back a file before there is a call."""

import struct

from hostile import frame, send

HEAD = b'{"name": "a", "mime_type": "image/png"}'
send(frame(b"A", struct.pack(">I", len(HEAD)) + HEAD))


def run(payload):
    return {}
