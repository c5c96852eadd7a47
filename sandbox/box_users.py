"""The users of root's boxes: each is one box's at a time, on the whole host.

Two boxes of one user could signal and trace each other where namespaces and Landlock do not keep
them apart, and fill its quotas for each other everywhere. So a box holds a lock on a file of its
user's, in a folder that is root's alone, and the kernel lets go of it when the runner dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import threading

from toolrunner.sandbox import forks
from toolrunner.sandbox.root_host import BOX_UIDS, box_uid

PLACES = ("/run", "/dev/shm", "/var/tmp")
FOLDER = "toolrunner-box-users"
REMEDY = "let root write to /run, and run fewer boxes than there are users for them"


class BoxUsers:
    """Gives each box a user that no other box has, of this runner or another. Thread-safe."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._begin()
        forks.in_each_child(self, BoxUsers._let_go)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        # A start of its own for each process, so that they seldom ask for the same.
        self._numbers = itertools.count(os.getpid())

    def _let_go(self) -> None:
        """In a fork: close what is the parent's, whose locks stay."""
        for descriptor in self._held:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._held = set()
        self._begin()

    def take(self, stack: contextlib.ExitStack) -> int | None:
        """Return a user that is a box's until ``stack`` is closed.

        ``None`` for ordinary users, and where root is alone. ``OSError`` when there is none, or
        none can be held.
        """
        if box_uid(0) is None:
            return None
        uid, descriptor = self._take()
        # A callback and no context: in a fork nothing of it must run.
        stack.callback(self._release, descriptor)
        return uid

    def _release(self, descriptor: int) -> None:
        with self._lock:
            # Not by closing alone: a fork may have a copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._held.discard(descriptor)
            os.close(descriptor)

    def _take(self) -> tuple[int, int]:
        folder = _folder()
        for _ in range(BOX_UIDS):
            uid = box_uid(next(self._numbers))
            if uid is None:
                continue
            with forks.held_off(), self._lock:
                descriptor = os.open(
                    f"{folder}/{uid}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    continue
                self._held.add(descriptor)
            return uid, descriptor
        raise OSError(errno.EAGAIN, "every user that boxes can have is in use")


def _folder() -> str:
    """Return the folder of the locks, which is made when it is not there."""
    first_error: OSError | None = None
    for place in PLACES:
        folder = f"{place}/{FOLDER}"
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            _check(folder)
        except OSError as error:
            first_error = first_error or error
        else:
            return folder
    assert first_error is not None
    raise first_error


def _check(folder: str) -> None:
    """Raise ``OSError`` if it is not root's alone, or root cannot write to it."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "it is not root's alone", folder)
    if not os.access(folder, os.W_OK):
        raise OSError(errno.EROFS, "it cannot be written to", folder)
