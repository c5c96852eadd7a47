"""Uses processor time in children that are stopped, continued and replaced all the time."""

import os
import signal
import time

from hostile import child, obtained, spin

LIMITS = {"wall_seconds": 60, "cpu_seconds": 0.5}
TOTAL = 3.0
SHORT = 0.006


def stopped_by_turns():
    pids = [child(lambda: spin(TOTAL)) for _ in range(4)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for turn in range(int(TOTAL / SHORT)):
        os.kill(pids[turn % 4], signal.SIGCONT)
        time.sleep(SHORT)
        os.kill(pids[turn % 4], signal.SIGSTOP)


def killed_while_stopped():
    for _ in range(int(TOTAL / SHORT)):
        pid = child(lambda: spin(TOTAL))
        time.sleep(SHORT)
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def never_waited_for():
    """Zombies, of which some are there at any time."""
    for batch in range(30):
        pids = [child(lambda: spin(TOTAL / 300)) for _ in range(10)]
        time.sleep(TOTAL / 30)
        for pid in pids:
            os.waitpid(pid, 0)


VARIANTS = {
    "by turns": stopped_by_turns,
    "killed while stopped": killed_while_stopped,
    "waited for late": never_waited_for,
}


def run(payload):
    VARIANTS[payload["variant"]]()
    return obtained(f"{TOTAL} s of processor time")
