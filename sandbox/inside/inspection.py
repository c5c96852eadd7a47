"""Reads from /proc what a plugin's import has left in its process that a fork cannot carry over.

Done by the warden, from outside of that process. What forbids warm boxes is said in words that a
plugin's author can act on.
"""

from __future__ import annotations

import os


def reasons(pid: int, last_descriptor: int, scratch: str) -> list[str]:
    """Return why cells must not be forked from process ``pid``; none means they may.

    It leads a process group, its own descriptors end with ``last_descriptor``, and it had
    ``scratch`` to write to.
    """
    try:
        found = [
            threads(pid),
            children(pid),
            shared_memory(pid),
            descriptors(pid, last_descriptor),
            files(scratch),
        ]
    except OSError as error:
        return [f"its process cannot be inspected: {error}"]
    return [reason for reason in found if reason]


def threads(pid: int) -> str:
    """Tell of threads: a fork has only the one that made it."""
    count = len(os.listdir(f"/proc/{pid}/task"))
    return f"its import starts threads ({count - 1})" if count > 1 else ""


def children(pid: int) -> str:
    """Tell of processes: they would belong to no call."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != pid:
            try:
                count += os.getpgid(int(name)) == pid
            except ProcessLookupError:
                continue
    return f"its import starts processes ({count})" if count else ""


def shared_memory(pid: int) -> str:
    """Tell of writable shared memory: calls could read and write each other's."""
    with open(f"/proc/{pid}/maps", "rb") as maps:
        count = sum(line.split(None, 2)[1].startswith((b"rw-s", b"rwxs", b"-w-s")) for line in maps)
    return f"its import maps writable shared memory ({count})" if count else ""


def descriptors(pid: int, last: int) -> str:
    """Tell of open files and the like: all calls would share one position in them."""
    left = [name for name in os.listdir(f"/proc/{pid}/fd") if int(name) > last]
    return f"its import leaves files or sockets open ({len(left)})" if left else ""


def files(scratch: str) -> str:
    """Tell of files: each call has an empty scratch of its own."""
    left = os.listdir(scratch)
    return f"its import writes files ({len(left)})" if left else ""
