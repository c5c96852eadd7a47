"""Sends half a frame and ends as if all were well."""

import os

from hostile import frame, send


def run(payload):
    send(frame(b"R")[:6])
    os._exit(0)
