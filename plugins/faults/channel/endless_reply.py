"""Announces two gigabytes and sends and sends."""

import struct

from hostile import send


def run(payload):
    send(b"R", struct.pack(">I", 2**31))
    while True:
        send(bytes(65536))
