"""Looks for processes with numbers near its own that it may signal."""

import os

from hostile import tried

NEAR = 8


def run(payload):
    own = os.getpid()

    def neighbour():
        for number in range(max(1, own - NEAR), own + NEAR):
            if number == own:
                continue
            try:
                os.kill(number, 0)  # 0 reaches nobody; it asks for the right alone
            except OSError:
                continue
            return number
        raise PermissionError

    return tried(signal=neighbour)
