"""Sends a whole frame of a kind that no worker may send now."""

import time

from hostile import LONG, frame, send

VARIANTS = {
    "unknown kind": b"Z",
    "an order": b"L",
    "a set-up failure": b"F",
    "confined": b"c",
}


def run(payload):
    send(frame(VARIANTS[payload["variant"]]))
    time.sleep(LONG)
