"""Writes 16 MiB to stdout and 16 MiB to stderr."""

import os

from hostile import MIB


def run(payload):
    for stream in (1, 2):
        for _ in range(16):
            os.write(stream, b"x" * MIB)
    return {}
