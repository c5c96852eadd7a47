"""Announces a reply and goes on sending a byte of it now and then."""

import time

from hostile import frame, send

LIMITS = {"wall_seconds": 1}


def run(payload):
    send(frame(b"R", b"x" * 1000)[:5])
    while True:
        send(b" ")
        time.sleep(0.05)
