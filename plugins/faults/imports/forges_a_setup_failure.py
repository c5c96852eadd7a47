"""Says that its box could not be set up, which would be the host's fault."""

from hostile import frame, send

send(frame(b"F", b"{}"))


def run(payload):
    return {"ran": True}
