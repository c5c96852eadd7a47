"""Regular files that an import leaves open for reading: each cell has them, opened anew.

An open file that two calls had in common would be a mailbox: one position, one set of flags. So
the warden notes, once after the load, which files the zygote has open. Before it makes a cell, the
zygote opens them anew, under its own Landlock; right after it, it has none of them. No cell is
given a call before the warden has seen that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .syscalls import Kernel

    # Number, path, device, inode, position, whether programs inherit it.
    KeptFile = tuple[int, str, int, int, int, bool]

MOST = 32  # each costs every call some microseconds
# Made by the kernel as they are read: of the process that has opened them, or of the host.
_NO_FILES = ("/proc/", "/sys/", "/dev/")
# Whoever opens a file in one of these ways wants more of it than to read it from a position.
_UNUSUAL = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK
for _name in ("O_ASYNC", "O_DIRECT", "O_DIRECTORY", "O_NOATIME", "O_PATH", "O_SYNC"):
    _UNUSUAL |= getattr(os, _name, 0)


def look(pid: int, last: int, writable: str) -> tuple[list[KeptFile], list[str]]:
    """Return what process ``pid`` has open beyond descriptor ``last``: files to keep, and the rest.

    The rest is told by name, "" for what has none. ``writable``: the folder of all scratch folders.
    """
    kept: list[KeptFile] = []
    rest: list[str] = []
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        if int(name) <= last:
            continue
        file = _file(pid, name, writable) if len(kept) < MOST else None
        if file is not None:
            kept.append(file)
            continue
        try:
            rest.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            rest.append("")
    return kept, rest


def _file(pid: int, name: str, writable: str) -> KeptFile | None:
    """Return a descriptor's file if cells may open it anew, and nobody in the box can write to it.

    It has to be there by its name: cells open that, and so only what they may read.
    """
    try:
        path = os.readlink(f"/proc/{pid}/fd/{name}")
        found = os.stat(f"/proc/{pid}/fd/{name}")
        there = os.lstat(path)
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii", errors="replace") as info:
            fields = dict(line.split(":", 1) for line in info if ":" in line)
        position, flags = int(fields["pos"]), int(fields["flags"], 8)
    except (OSError, KeyError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) or flags & _UNUSUAL:
        return None
    if (found.st_dev, found.st_ino) != (there.st_dev, there.st_ino):
        return None
    if path.startswith((*_NO_FILES, f"{writable}/")) or "\0" in path:
        return None
    is_inherited = not flags & os.O_CLOEXEC
    return int(name), path, found.st_dev, found.st_ino, position, is_inherited


def shared(kernel: Kernel, kept: Sequence[KeptFile], cell: int, zygote: int) -> str:
    """Return the path of a file that a new cell has not opened anew, or nothing.

    What a cell does not have in common with the zygote, no later cell has in common with it. This
    watches over our own code: an import that was written to can pass on what it likes to its cells.
    """
    for file in kept:
        # A cell that has ended has none; some containers do not allow to compare.
        with contextlib.suppress(OSError):
            if kernel.is_same_open_file((cell, file[0]), (zygote, file[0])):
                return file[1]
    return ""


def open_anew(kept: Sequence[KeptFile]) -> None:
    """Open all of these in their places; ``OSError`` if one is another file by now."""
    for number, path, device, inode, position, is_inherited in kept:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(opened)
            if (found.st_dev, found.st_ino) != (device, inode):
                raise OSError(errno.ESTALE, f"{path} has been replaced since it was opened")
            os.set_blocking(opened, True)
            os.lseek(opened, position, os.SEEK_SET)
            os.dup2(opened, number, inheritable=is_inherited)
        finally:
            os.close(opened)


def let_go(kept: Sequence[KeptFile], null: int) -> None:
    """Put ``null``, an open /dev/null, in all of these places."""
    for file in kept:
        os.dup2(null, file[0], inheritable=False)


def close_others(kept: Sequence[KeptFile], first: int, end: int) -> None:
    """Close all descriptors from ``first`` to ``end`` but these."""
    for file in sorted(kept):
        os.closerange(first, file[0])
        first = file[0] + 1
    os.closerange(first, end)
