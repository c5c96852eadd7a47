"""Writes to the log what no logger would."""

import os

from hostile import LOG


def run(payload):
    os.write(LOG, b"x" * 5000 + b"\n[]\n{\n" + b"[" * 3000)
    os.write(LOG, b'\n\xff\n{"level": true}\n')
    return {}
