"""Sends a reply of its own, and has the worker send the next."""

from hostile import frame, send


def run(payload):
    send(frame(b"R"))
    return {}
