"""Has a grandchild send the reply."""

import time

from hostile import LONG, child, frame, send


def run(payload):
    child(lambda: child(lambda: send(frame(b"R", b'{"by": "grandchild"}'))))
    time.sleep(LONG)
