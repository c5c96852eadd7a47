"""Closes the reply channel and goes to sleep."""

import os
import time

from hostile import CHANNEL, LONG


def run(payload):
    os.close(CHANNEL)
    time.sleep(LONG)
