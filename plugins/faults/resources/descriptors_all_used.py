"""Opens files until no more can be opened, keeps them, and returns."""

import itertools
import os

LIMITS = {"open_files": 64}
kept = []


def run(payload):
    for _ in itertools.repeat(None):
        try:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    return {}
