"""Replies before it has been asked."""

from hostile import frame, send

send(frame(b"R"))


def run(payload):
    return {"ran": True}
