"""Ends with status 0 and no reply."""

import os


def run(payload):
    os._exit(0)
