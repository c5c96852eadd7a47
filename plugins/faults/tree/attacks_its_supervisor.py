"""Signals, throttles and reads the process that started it."""

import os
import resource
import signal

from hostile import pinned, tried


def run(payload):
    up = os.getppid()
    # Signal 0 asks only for the right, which is what matters; of process 1 no more than that.
    numbers = (0,) if up == 1 else (0, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL)
    return tried(
        **{f"signal {n:d}": lambda n=n: os.kill(up, n) for n in numbers},
        limits=lambda: resource.prlimit(up, resource.RLIMIT_CORE),
        priority=lambda: os.setpriority(os.PRIO_PROCESS, up, 10),
        affinity=lambda: pinned(up),
        memory=lambda: os.open(f"/proc/{up}/mem", os.O_RDWR),
        environment=lambda: open(f"/proc/{up}/environ").read(),
        descriptors=lambda: os.listdir(f"/proc/{up}/fd"),
    )
