"""Reports progress in a shape that no worker would."""

import time

from hostile import LONG, frame, send

VARIANTS = {
    "NaN": b'{"fraction": NaN, "message": ""}',
    "infinite": b'{"fraction": 1e400, "message": ""}',
    "beyond 1": b'{"fraction": 2, "message": ""}',
    "huge": b'{"fraction": 1' + b"0" * 4000 + b', "message": ""}',
    "deep": b"[" * 4000,
    "a number": b"7",
    "a list": b"[1, 2]",
    "no message": b'{"fraction": 0}',
    "message is a number": b'{"fraction": 0, "message": 7}',
    "not UTF-8": b'{"fraction": 0, "message": "\xff"}',
    "nothing": b"",
    "too long": b" " * 5000,
}


def run(payload):
    send(frame(b"P", VARIANTS[payload["variant"]]))
    time.sleep(LONG)
