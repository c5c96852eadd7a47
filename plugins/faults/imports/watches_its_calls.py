"""Leaves a process that looks for the memory of the calls to come."""

import os
import time

from hostile import LONG, child


def watch():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        for name in filter(str.isdigit, os.listdir("/proc")):
            if int(name) not in (1, os.getpid()):
                open(f"/proc/{name}/mem", "rb").close()
        time.sleep(0.01)


child(watch)


def run(payload):
    return {"ran": True}
