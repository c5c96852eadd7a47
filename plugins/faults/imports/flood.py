"""Writes 4 MiB to stdout while it is imported."""

import os

for _ in range(64):
    os.write(1, bytes(65536))


def run(payload):
    return {"ran": True}
