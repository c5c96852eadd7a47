"""Fills its scratch with names of files that hold nothing."""

import os
import time

from hostile import LONG, obtained

LIMITS = {"wall_seconds": 20, "scratch_mb": 4}
FILES = 2000


def run(payload):
    for number in range(FILES):
        os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
    time.sleep(LONG)
    return obtained(f"{FILES} files")
