"""Aborts, as C libraries do."""

import os


def run(payload):
    os.abort()
