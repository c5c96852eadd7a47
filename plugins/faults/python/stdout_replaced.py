"""Puts objects in the place of stdout and stderr that are no streams."""

import sys


def run(payload):
    sys.stdout = sys.stderr = object()
    return {}
