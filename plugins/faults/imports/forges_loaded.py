"""Says that it is loaded before it is."""

from hostile import frame, send

send(frame(b"l"))


def run(payload):
    return {"ran": True}
