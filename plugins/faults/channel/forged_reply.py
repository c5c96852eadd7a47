"""Sends a reply of its own and ends before the worker can send one."""

import os

from hostile import frame, send


def run(payload):
    send(frame(b"R", b'{"forged": true}'))
    os._exit(0)
