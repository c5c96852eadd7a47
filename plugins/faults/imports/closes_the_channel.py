"""Closes the reply channel while it is imported."""

import os

from hostile import CHANNEL

os.close(CHANNEL)


def run(payload):
    return {"ran": True}
