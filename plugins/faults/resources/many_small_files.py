"""Fills its scratch with files of one page each."""

import time

from hostile import LONG, obtained

LIMITS = {"wall_seconds": 20, "scratch_mb": 4}
FILES = 1500


def run(payload):
    for number in range(FILES):
        with open(str(number), "wb", buffering=0) as file:
            file.write(bytes(4096))
    time.sleep(LONG)
    return obtained(f"{FILES} pages of files")
