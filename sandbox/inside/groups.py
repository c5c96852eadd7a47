"""Ending processes: by group, which none of a call can leave; by session, what is left of a box."""

from __future__ import annotations

import contextlib
import os
import signal
import time

_ENDING_MILLISECONDS = 20  # what a process may need from closing its files to its end


def kill_group(group: int) -> None:
    """Kill every process of a group: the kernel walks it under its lock, so none escapes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def has_ended(pid: int) -> bool:
    """Tell whether a child has ended; one that ends just now has closed its channel before."""
    for _ in range(_ENDING_MILLISECONDS):
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
        except ChildProcessError:
            return True
        time.sleep(0.001)
    return False


def session_members() -> list[int]:
    """Return the other processes of this process's session, as far as /proc tells."""
    own = os.getsid(0)
    members = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(int(name)) == own:
                        members.append(int(name))
    return members


def reap_ended() -> None:
    """Reap every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
