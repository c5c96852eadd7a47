"""Paths that nobody else can lead elsewhere: walked by descriptor, one component after the other.

Whoever reads a plugin's files, or lets a box read them, asks here first. A symbolic link counts
only if root or this process's own user has placed it, as kubelet and deployments do; one of anybody
else's could lead to what that user may not read. What was found is told by device and inode, so
that the box can see that it opens the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass

_MOST_LINKS = 40  # as the kernel's own
_TRIES = 3
_WALKS = hasattr(os, "O_PATH")


class ForeignLinkError(OSError):
    """Another user's link is on the way; the text names it and says what to do."""

    def __init__(self, link: str, owner: int) -> None:
        remedy = f"give it to root or to user {os.geteuid()}, or name what it leads to"
        message = f"{link} is a link of user {owner}, who could lead it elsewhere; {remedy}"
        super().__init__(errno.EPERM, message)


@dataclass(frozen=True, slots=True)
class Found:
    """What a path led to: its ``path`` without links, and which file or folder it is."""

    path: str
    device: int
    inode: int


def find(path: str) -> Found:
    """Return what a path leads to now; ``OSError``, as ``ForeignLinkError``, if to nothing."""
    with contextlib.ExitStack() as stack:
        walk = _Walk(path, stack)
        found = os.fstat(walk.here) if _WALKS else os.stat(walk.path)
        return Found(walk.path, found.st_dev, found.st_ino)


def open_file(path: str) -> int:
    """Return a descriptor to read a regular file with; it never waits.

    ``OSError`` if there is none, and ``ForeignLinkError``.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    for _ in range(_TRIES):
        with contextlib.ExitStack() as stack:
            walk = _Walk(path, stack)
            if not _WALKS:
                return _regular(os.open(walk.path, flags))
            found = os.fstat(walk.here)
            _check_regular(found.st_mode)
            try:
                descriptor = os.open(walk.name, flags, dir_fd=walk.parent)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOENT):
                    continue  # it was replaced in this moment
                raise
            opened = os.fstat(descriptor)
            if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino):
                return descriptor
            os.close(descriptor)
    raise OSError(errno.ESTALE, "it is being replaced all the time")


def _regular(descriptor: int) -> int:
    try:
        _check_regular(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")


class _Walk:
    """A way from the root to what a path leads to; its descriptors are the stack's to close.

    ``parent`` and ``name``: where it lies; ``here``: it itself, opened without any right to it.
    """

    def __init__(self, path: str, stack: contextlib.ExitStack) -> None:
        if "\0" in path:
            raise OSError(errno.EINVAL, "a path with a NUL")
        whole = os.path.join(os.getcwd(), path)
        if not _WALKS:
            self.path = os.path.realpath(whole, strict=True)
            return
        self._stack = stack
        root = self._opened("/", None)
        self._folders, self._names = [root], [""]
        self._left = whole.split("/")[::-1]
        self._links = 0
        while self._left:
            self._step(self._left.pop())
        self.here = self._folders[-1]
        self.parent = self._folders[-2] if len(self._folders) > 1 else root
        self.name = self._names[-1] or "."
        self.path = "/".join(self._names) or "/"

    def _step(self, name: str) -> None:
        if name in {"", "."}:
            return
        if name == "..":
            if len(self._folders) > 1:
                self._folders.pop()
                self._names.pop()
            return
        there = self._opened(name, self._folders[-1])
        found = os.fstat(there)
        if not stat.S_ISLNK(found.st_mode):
            self._folders.append(there)
            self._names.append(name)
            return
        if found.st_uid not in {0, os.geteuid()}:
            raise ForeignLinkError("/".join([*self._names, name]), found.st_uid)
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink("", dir_fd=there)
        if target.startswith("/"):
            del self._folders[1:], self._names[1:]
        self._left += target.split("/")[::-1]

    def _opened(self, name: str, folder: int | None) -> int:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        self._stack.callback(os.close, descriptor)
        return descriptor
