"""Prints frames to stdout and stderr, from itself and from another program."""

import os
import sys

from hostile import frame


def run(payload):
    print(frame(b"R"))
    sys.stdout.buffer.write(frame(b"R", b'{"forged": 1}'))
    os.write(2, frame(b"R"))
    os.system("echo '{\"forged\": 1}'")
    return {}
