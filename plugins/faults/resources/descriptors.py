"""Opens more files than its limit."""

import os

from hostile import obtained

LIMITS = {"open_files": 64}


def run(payload):
    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
    return obtained(f"{len(kept)} descriptors")
