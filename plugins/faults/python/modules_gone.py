"""Empties sys.modules."""

import sys


def run(payload):
    sys.modules.clear()
    return {}
