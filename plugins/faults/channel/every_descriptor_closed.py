"""Closes everything that is open, and returns."""

import os


def run(payload):
    os.closerange(0, 64)
    return {}
