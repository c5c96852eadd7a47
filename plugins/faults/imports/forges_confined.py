"""Says that it is confined once more, and hangs."""

import time

from hostile import LONG, frame, send

send(frame(b"c"))
time.sleep(LONG)


def run(payload):
    return {"ran": True}
