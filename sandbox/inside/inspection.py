"""Reads from /proc what a plugin's import has left in its process that a fork cannot carry over.

Done by the warden, from outside of that process. What forbids warm boxes is said in words that a
plugin's author can act on.
"""

from __future__ import annotations

import errno
import os

from . import caches

_MOST_NAMES, _LONGEST_NAME = 3, 60


def reasons(pid: int, left_open: list[str], scratch: str, *, threads_matter: bool) -> list[str]:
    """Return why cells must not be forked from process ``pid``; none means they may.

    It leads a process group, ``left_open`` are descriptors that no cell can have, and it had
    ``scratch`` to write to. ``threads_matter``: unless its author has said that none is missed.
    """
    try:
        found = [
            threads(pid) if threads_matter else "",
            children(pid),
            shared_memory(pid),
            descriptors(left_open),
            files(scratch),
        ]
    except OSError as error:
        return [f"its process cannot be inspected: {error}"]
    return [reason for reason in found if reason]


def threads(pid: int) -> str:
    """Tell of threads: a fork has only the one that made it."""
    own = comm(f"/proc/{pid}")
    names = [comm(f"/proc/{pid}/task/{task}") for task in os.listdir(f"/proc/{pid}/task")]
    others = len(names) - 1
    # One that was given no name has the process's, which says nothing.
    return told("its import starts threads", others, [name for name in names if name != own])


def children(pid: int) -> str:
    """Tell of processes: they would belong to no call."""
    names = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != pid:
            try:
                if os.getpgid(int(name)) == pid:
                    names.append(comm(f"/proc/{name}"))
            except ProcessLookupError:
                continue
    return told("its import starts processes", len(names), names)


def shared_memory(pid: int) -> str:
    """Tell of writable shared memory: calls could read and write each other's."""
    shared, names = 0, []
    fields: list[bytes] = []
    with open(f"/proc/{pid}/smaps", "rb") as maps:
        for line in maps:
            word, _, rest = line.partition(b" ")
            if word == b"VmFlags:":
                # Shared, and writable or to be made so at any time.
                if {b"sh", b"mw"} <= set(rest.split()):
                    shared += 1
                    names += [name.decode("utf-8", "replace") for name in fields[5:]]
            elif not word.endswith(b":"):
                fields = line.split(None, 5)
    return told("its import maps writable shared memory", shared, names)


def descriptors(left_open: list[str]) -> str:
    """Tell of open files and the like: all calls would share one position in them."""
    return told("its import leaves files or sockets open", len(left_open), left_open)


def files(scratch: str) -> str:
    """Tell of files: each call has a scratch of its own. Those in caches are for all to read."""
    left = [name for name in os.listdir(scratch) if name not in caches.PLACES]
    left += caches.strange(scratch)
    return told("its import writes files", len(left), left)


def check_unused(pid: int, folder: str) -> None:
    """Raise ``OSError`` if a process has something below ``folder`` open, mapped, or is in it."""
    inside = f"{folder}/"
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        used = f" {inside}" in maps.read()
    links = [f"/proc/{pid}/cwd"]
    links += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    for link in links:
        try:
            used = used or os.readlink(link).startswith(inside)
        except FileNotFoundError:  # closed meanwhile
            continue
    if used:
        raise OSError(errno.EBUSY, "it still uses files of its last call")


def comm(folder: str) -> str:
    """Return the name of a process or thread, "" for one that has ended."""
    try:
        with open(f"{folder}/comm", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def told(what: str, count: int, names: list[str]) -> str:
    """Return a reason with some of the names in it, or "" where there is nothing to tell.

    The names are a plugin's or its library's to choose, so they are made harmless.
    """
    if not count:
        return ""
    clean = {"".join(c for c in name if " " < c < "\x7f")[-_LONGEST_NAME:] for name in names}
    shown = sorted(clean - {""})
    more = ", …" if len(shown) > _MOST_NAMES else ""
    words = f": {', '.join(shown[:_MOST_NAMES])}{more}" if shown else ""
    return f"{what} ({count}{words})"
