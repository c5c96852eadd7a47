"""Reports an exception whose parts are of other types than they should be."""

import os

from hostile import frame, send

BODY = (
    b'{"exception": {}, "message": [1], "traceback": null, "errno": "x", "is_memory_error": 1,'
    b' "cannot_start_thread": 1}'
)


def run(payload):
    send(frame(b"X", BODY))
    os._exit(0)
