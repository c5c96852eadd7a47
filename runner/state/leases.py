"""Which processes of a server are alive, told by locks that end with their holders.

What a process has taken on is written down under the name of its lease; nobody has to notice a
death, or clean up after one.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from toolrunner.sandbox import forks

# A holder sees within a few seconds that its file was deleted, and makes it anew.
_MISSING_SECONDS = 10.0
# A file that nobody holds says that its holder is dead, to whoever still asks; then it goes.
_KEPT_SECONDS = 24 * 3600.0


class Lease:
    """A file that this process holds locked for as long as it lives.

    Should somebody delete it, ``insist`` makes it anew: it has to be called every few seconds.
    """

    def __init__(self, folder: Path) -> None:
        """Take a new lease in ``folder``, as soon as that can be."""
        self._folder = folder
        self.name = uuid.uuid4().hex
        self._descriptor = -1
        self._is_over = False
        self._missing: dict[str, float] = {}  # since when
        forks.in_each_child(self, Lease._let_go)
        with suppress(OSError):
            self.insist()
            self._tidy()

    def insist(self) -> None:
        """Raise OSError while there is no such file, as on a full disk.

        Whoever writes something down under this name calls it first.
        """
        if self._is_over or self._is_there():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._folder / self.name, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before, self._descriptor = self._descriptor, descriptor
        if before >= 0:
            os.close(before)

    def _is_there(self) -> bool:
        """Whether the file that is held still has its name."""
        if self._descriptor < 0:
            return False
        try:
            named = (self._folder / self.name).stat(follow_symlinks=False)
            return os.path.samestat(os.fstat(self._descriptor), named)
        except FileNotFoundError:
            return False

    def _tidy(self) -> None:
        """Delete what the dead have left long ago."""
        before = time.time() - _KEPT_SECONDS
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path.stat(follow_symlinks=False).st_mtime < before and self.is_dead(path.name):
                    path.unlink()

    def _let_go(self) -> None:
        """Close the copy: a lock lives for as long as any copy of its descriptor is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._is_over = True

    def is_dead(self, name: str) -> bool:
        """Tell whether the holder of another lease has ended.

        One whose file is missing, only once it has been for some time: it may have been deleted.
        """
        if name == self.name:
            return False
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            now = time.monotonic()
            return now - self._missing.setdefault(name, now) >= _MISSING_SECONDS
        self._missing.pop(name, None)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        """Give the lease up, if it is this process's; the file that stays says so to others."""
        self._is_over = True
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1  # its number may be another file's from now on
