"""Replaces itself by another program, which never answers."""

import os

from hostile import LONG


def run(payload):
    os.execv("/bin/sleep", ["sleep", str(LONG)])
