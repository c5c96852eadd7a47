"""Closes everything that is open while it is imported."""

import os

os.closerange(0, 64)


def run(payload):
    return {"ran": True}
