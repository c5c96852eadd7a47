"""Sends false reports to its supervisor."""

import os

WARDEN = 6

for _ in range(200):
    try:
        os.write(WARDEN, b"forked 1 2")
        os.write(WARDEN, b"\xff" * 3000)
        os.write(WARDEN, b"failed " + b"9" * 4000)
    except OSError:
        break


def run(payload):
    return {"ran": True}
