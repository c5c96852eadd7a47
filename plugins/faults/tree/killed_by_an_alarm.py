"""Has the kernel kill it by an alarm that nobody handles."""

import signal
import time

from hostile import LONG


def run(payload):
    signal.alarm(1)
    time.sleep(LONG)
    return {}
