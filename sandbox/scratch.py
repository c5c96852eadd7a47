"""A cell's scratch folder, seen from outside: what it holds, and how it is removed.

All of it was made by a plugin. No link is followed, and no name or mode stops the removal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from toolrunner.sandbox.inside.folders import empty_folder, open_folder

MEASURE_SECONDS = 0.05
_INODE_BYTES, _OWN_INODES = 1024, 2  # of a tmpfs: an inode with a name; its root, the scratch
_GONE = {errno.ENOENT, errno.ENOTDIR}


def tmpfs_bytes(mount: str) -> int:
    """Return what a mounted scratch holds; 0 when it cannot be seen, as while its box ends.

    It needs no second measure: the kernel bounds a tmpfs by its size.
    """
    try:
        space = os.statvfs(mount)
    except OSError:
        return 0
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    return used + max(0, space.f_files - space.f_ffree - _OWN_INODES) * _INODE_BYTES


class MountedScratch:
    """A new scratch on a tmpfs of its own, to be known again: a folder in the root of that."""

    def __init__(self, mount: str) -> None:
        """``OSError`` or ``ValueError`` if there is none, or more than that."""
        (name,) = os.listdir(mount)
        self._folder = f"{mount}/{name}"
        self._number = os.stat(self._folder, follow_symlinks=False).st_ino

    def is_untouched(self) -> bool:
        """Tell whether it is the same folder, and holds nothing, nor a file without a name."""
        try:
            space = os.statvfs(self._folder)
            number = os.stat(self._folder, follow_symlinks=False).st_ino
        except OSError:
            return False
        is_empty = space.f_bfree == space.f_blocks
        return is_empty and space.f_files - space.f_ffree == _OWN_INODES and number == self._number


def tree_bytes(folder: str, enough: int) -> int:
    """Return the disk space of all files below a folder, links not followed.

    An empty file or folder counts as one block of 4 KiB, since the disk keeps it somewhere.
    Counting ends at ``enough``; what cannot be looked at, as below a path that is too long, counts
    as more than that.
    """
    total = 0
    waiting = [folder]
    while waiting and total <= enough:
        try:
            with _entries(waiting.pop()) as entries:
                for entry in entries:
                    total += _entry_bytes(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if total > enough:
                        break
        except OSError as error:
            if error.errno not in _GONE:
                return enough + 1
    return total


def _entries(folder: str) -> contextlib.AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """Look into a folder, whatever its mode: a plugin's are our own user's, or we are root."""
    try:
        return os.scandir(folder)
    except PermissionError:
        os.close(open_folder(None, folder))
        return os.scandir(folder)


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
    except FileNotFoundError:
        return 0


class HostScratch:
    """What a cell's files take where its scratch is a folder of the host's disk."""

    def __init__(self, folder: str, enough: int) -> None:
        self._folder = folder
        self._enough = enough
        self._measured = 0.0
        self._bytes = 0

    def bytes(self) -> int:
        """Return it, as it was not long ago: walking a folder costs more than other measures."""
        if time.monotonic() - self._measured > MEASURE_SECONDS:
            self._bytes = tree_bytes(self._folder, self._enough)
            self._measured = time.monotonic()
        return self._bytes


def remove_tree(folder: str) -> None:
    """Remove a folder that a plugin wrote to, following no link and whatever its modes."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # needs no descriptor, and mostly there is nothing in it
        return
    with contextlib.suppress(OSError):
        empty_folder(folder)
        os.rmdir(folder)
