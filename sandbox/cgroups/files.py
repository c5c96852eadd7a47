"""Reads and writes the files of cgroups."""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import resource
import threading

from toolrunner.sandbox import forks

_MOST_BYTES = 1 << 14  # more than any file of figures has
_MOST_OPEN = 192  # those of twenty cells at work


def read(path: str) -> str:
    """Return a file's text, as it is now."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _MOST_BYTES).decode("ascii")
    finally:
        os.close(file)


def write(path: str, text: str) -> None:
    """Write a file in one piece; what the kernel refuses is an ``OSError``."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode("ascii"))
    finally:
        os.close(file)


class OpenFiles:
    """Files that are read again and again: of one that is open that takes a fifth of the time.

    Thread-safe. Those used longest ago are closed, and opened anew when they are wanted again.
    """

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = _MOST_OPEN if soft == resource.RLIM_INFINITY else min(_MOST_OPEN, soft // 8)
        self._begin()
        forks.in_each_child(self, OpenFiles._let_go)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._open: collections.OrderedDict[tuple[str, int], int] = collections.OrderedDict()

    def _let_go(self) -> None:
        self._lock = threading.Lock()
        self.forget("")

    def read(self, path: str, flags: int = os.O_RDONLY) -> str:
        """Return a file's text, as it is now; ``FileNotFoundError`` for one that is gone."""
        with self._lock:
            try:
                text = os.pread(self._descriptor(path, flags), _MOST_BYTES, 0)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise FileNotFoundError(errno.ENOENT, "it has been removed", path) from error
                raise
            return text.decode("ascii")

    def write(self, path: str, text: str) -> None:
        """Write a file that is read with O_RDWR; what the kernel refuses is an ``OSError``."""
        with self._lock:
            os.pwrite(self._descriptor(path, os.O_RDWR), text.encode("ascii"), 0)

    def _descriptor(self, path: str, flags: int) -> int:
        descriptor = self._open.get((path, flags), -1)
        if descriptor < 0:
            while self._open and len(self._open) >= self._most:
                os.close(self._open.popitem(last=False)[1])
            descriptor = self._open[path, flags] = os.open(path, flags | os.O_CLOEXEC)
        else:
            self._open.move_to_end((path, flags))
        return descriptor

    def forget(self, folder: str) -> None:
        """Close all that is open below a folder."""
        with self._lock:
            for path, flags in [known for known in self._open if known[0].startswith(folder)]:
                os.close(self._open.pop((path, flags)))


def remove_tree(folder: str) -> None:
    """Remove a cgroup with all below it; one that holds a process is ``EBUSY``."""
    try:
        inner = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in inner:
        remove_tree(path)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)
