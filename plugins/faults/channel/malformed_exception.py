"""Reports an exception in a shape that no worker would."""

import os

from hostile import frame, send

VARIANTS = {
    "a list": b"[]",
    "no keys": b"{}",
    "not JSON": b"{",
    "deep": b"[" * 100_000,
    "too long": b" " * 200_000,
}


def run(payload):
    send(frame(b"X", VARIANTS[payload["variant"]]))
    os._exit(0)
