"""Closes the reply channel and ends as if all were well."""

import os

from hostile import CHANNEL


def run(payload):
    os.close(CHANNEL)
    os._exit(0)
