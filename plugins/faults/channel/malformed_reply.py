"""Sends a whole reply that is not strict JSON, or not an object."""

import os

from hostile import frame, send

VARIANTS = {
    "NaN": b'{"x": NaN}',
    "Infinity": b'{"x": -Infinity}',
    "1e400": b'{"x": 1e400}',
    "nested 100,000 deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "number of 100,000 digits": b'{"x": ' + b"9" * 100_000 + b"}",
    "lone surrogate": b'{"x": "\\ud800"}',
    "encoded surrogate": b'{"x": "\xed\xa0\x80"}',
    "not UTF-8": b'{"x": "\xff"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a key twice": b'{"x": 1, "x": 2}',
    "a key that is no string": b"{1: 2}",
    "a list": b"[]",
    "null": b"null",
    "two objects": b"{}{}",
    "half an object": b'{"x": ',
    "nothing": b"",
    "zero bytes": bytes(100),
}


def run(payload):
    send(frame(b"R", VARIANTS[payload["variant"]]))
    os._exit(0)
