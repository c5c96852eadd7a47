"""Says that its result cannot be sent, in bytes that are no text."""

import os

from hostile import frame, send

VARIANTS = {"not UTF-8": b"\xff\xfe", "escapes": b"\x1b[2J\r\n\x00", "too long": b"x" * 200_000}


def run(payload):
    send(frame(b"U", VARIANTS[payload["variant"]]))
    os._exit(0)
