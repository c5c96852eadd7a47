"""Which processes of a server are alive, told by locks that end with their holders.

What a process has taken on is written down under the name of its lease; nobody has to notice a
death, or clean up after one.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from toolrunner.sandbox import forks


class Lease:
    """A file that this process holds locked for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        """Take a new lease in ``folder``."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(folder / self.name, flags, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        forks.in_each_child(self, Lease._let_go)

    def _let_go(self) -> None:
        """Close the copy: a lock lives for as long as any copy of its descriptor is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def is_dead(self, name: str) -> bool:
        """Tell whether the holder of another lease has ended; its file is deleted then."""
        if name == self.name:
            return False
        try:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self._folder / name).unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        """Give the lease up, if it is this process's."""
        if self._descriptor < 0:
            return
        (self._folder / self.name).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1  # its number may be another file's from now on
