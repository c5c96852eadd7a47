"""Where scratch folders of the host's disk go, to be emptied beside what the warden has to do.

A plugin can make more files than may be removed while calls wait. So a folder is moved away, which
takes no time, to where no cell may write, and a child process empties it.
"""

from __future__ import annotations

import contextlib
import itertools
import os

from . import folders

_MOST_AT_ONCE = 4  # beyond that it is waited for, or the disk would fill up
_MOST_DESCRIPTORS = 1 << 16
_FEW = 16  # names: removed at once


class Trash:
    """The trash of one box. Its children are reaped by the warden's loop."""

    def __init__(self, root: str) -> None:
        """``root``: the box's scratch folder on the host's disk."""
        self._root = root
        self._numbers = itertools.count()
        self._children: list[int] = []

    def throw(self, path: str) -> None:
        """Take a folder away, with a scratch in it; ``OSError`` if that cannot be."""
        if _is_small(path):
            folders.empty_folder(path)
            os.rmdir(path)
            return
        trash = f"{self._root}/trash-{next(self._numbers)}"
        os.rename(path, trash)
        self._children = [pid for pid in self._children if _is_child(pid)]
        if len(self._children) >= _MOST_AT_ONCE:
            _empty(trash)
            return
        pid = os.fork()
        if pid == 0:
            try:
                os.closerange(3, _MOST_DESCRIPTORS)  # their ends are news to the runner
                _empty(trash)
            finally:
                os._exit(0)
        self._children.append(pid)


def _is_small(path: str) -> bool:
    """Tell whether a scratch, a folder in its folder, holds few files and no other folders."""
    holder = os.open(path, os.O_RDONLY | folders.FOLDER)
    try:
        left = _FEW
        for scratch in os.listdir(holder):
            try:
                entries = folders.list_folder(holder, scratch)
            except OSError:  # no folder, or one of another mode
                return False
            left -= len(entries)
            if left < 0 or any(entry.is_dir(follow_symlinks=False) for entry in entries):
                return False
    finally:
        os.close(holder)
    return True


def _empty(folder: str) -> None:
    with contextlib.suppress(OSError):  # the parent removes what is left, after the box
        folders.empty_folder(folder)
        os.rmdir(folder)


def _is_child(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
