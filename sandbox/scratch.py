"""A cell's scratch folder, seen from outside: what it holds, and how it is removed.

All of it was made by a plugin. No link is followed, and no name or mode stops the removal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from toolrunner.sandbox.ending import SCARCE
from toolrunner.sandbox.inside.folders import FOLDER, empty_folder, open_folder

MEASURE_SECONDS = 0.05
_INODE_BYTES, _OWN_INODES = 1024, 2  # of a tmpfs: an inode with a name; its root, the scratch
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_MOST_DEPTH = 100  # folders in one another, each a descriptor


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

    Code of a plugin may run meanwhile and change names: below ``folder``, which no plugin can
    replace, every step goes by the descriptor of a folder and a name in it. An empty file or folder
    counts as one block of 4 KiB, since the disk keeps it somewhere. Counting ends at ``enough``;
    what cannot be looked at, and what lies very deep, counts as more than that.
    """
    try:
        return _bytes_below(None, folder, enough, _MOST_DEPTH)
    except OSError as error:
        return 0 if error.errno in _GONE | SCARCE else enough + 1


def _bytes_below(holder: int | None, name: str, enough: int, depth: int) -> int:
    if depth == 0:
        return enough + 1
    total = 0
    opened = _opened(holder, name)
    try:
        with os.scandir(opened) as entries:
            for entry in entries:
                total += _entry_bytes(entry)
                if total <= enough and entry.is_dir(follow_symlinks=False):
                    with _unless_gone():
                        total += _bytes_below(opened, entry.name, enough - total, depth - 1)
                if total > enough:
                    break
    finally:
        os.close(opened)
    return total


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over a folder that has been removed, or whose place a file or a link has taken."""
    try:
        yield
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _opened(holder: int | None, name: str) -> int:
    """Open a folder, whatever its mode: a plugin's are our own user's, or we are root."""
    try:
        return os.open(name, os.O_RDONLY | FOLDER, dir_fd=holder)
    except PermissionError:
        return open_folder(holder, name)


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


def hand_over(folder: str, uid: int | None) -> None:
    """Make a folder a user's, with all that is in it; ``None``: it is the box's user's already.

    By descriptors and names in them, no link followed: a box may have written to it before.
    """
    if uid is None:
        return
    opened = _opened(None, folder)
    try:
        if os.fstat(opened).st_uid != uid:
            _hand_over_below(opened, uid, _MOST_DEPTH)
            os.fchown(opened, uid, uid)
    finally:
        os.close(opened)


def _hand_over_below(opened: int, uid: int, depth: int) -> None:
    if depth == 0:
        raise OSError(errno.ELOOP, "it holds folders in one another without end")
    with os.scandir(opened) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner = _opened(opened, entry.name)
                try:
                    _hand_over_below(inner, uid, depth - 1)
                finally:
                    os.close(inner)
            elif entry.stat(follow_symlinks=False).st_nlink > 1:
                raise OSError(errno.EMLINK, "a file in it has a second name", entry.name)
            os.chown(entry.name, uid, uid, dir_fd=opened, follow_symlinks=False)


def remove_tree(folder: str) -> None:
    """Remove a folder that a plugin wrote to, following no link and whatever its modes."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # needs no descriptor, and mostly there is nothing in it
        return
    with contextlib.suppress(OSError):
        empty_folder(folder)
        os.rmdir(folder)
