"""One SQLite file of the state folder that is open for as long as it can be.

It is opened when it is first needed, and again when another one has taken its place, by an
operator's hand, or when it could not be used before. Its holder has a lock, and says what is wrong.
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolrunner.runner.state.database import is_full

_RETRY_SECONDS = 1.0
_PRIMARY_CODE = 0xFF
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# After one of these what is wrong may be what is open, and not what lies there by now.
_OF_THE_FILE = {
    *_DAMAGED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_ERROR,
}

Broken = sqlite3.Error | OSError


class UnusableError(OSError):
    """A file of the state folder that cannot be used. Its words say which, and what to do."""

    def __str__(self) -> str:
        """Return the words, without errno's number."""
        return str(self.strerror or super().__str__())


def _unheard() -> None:
    """Hear of nothing."""


class Reopened:
    """A connection of this process. For who holds a lock: nothing here is thread-safe."""

    def __init__(
        self,
        path: Path,
        make: Callable[[], sqlite3.Connection],
        on_replaced: Callable[[], None] = _unheard,
    ) -> None:
        """``make`` opens the file; ``on_replaced`` hears that the open one has lost its place."""
        self.path = path
        self._make = make
        self._on_replaced = on_replaced
        self._database: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._failed: tuple[float, Broken] | None = None
        self.is_closed = False

    def get(self) -> sqlite3.Connection:
        """Return the connection; raises sqlite3.Error and OSError while there can be none."""
        if self.is_closed:
            message = "this file was closed"
            raise sqlite3.ProgrammingError(message)
        if self._database is not None:
            # Without one, it had gone by the time it was open.
            if self._identity is not None and _identity(self.path) == self._identity:
                return self._database
            self._on_replaced()
            self._let_go()
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise self._failed[1].with_traceback(None)
        try:
            database = self._make()
        except (sqlite3.Error, OSError) as error:
            self._failed = (time.monotonic() + _RETRY_SECONDS, error)
            raise
        self._failed = None
        self._database, self._identity = database, _identity(self.path)
        return database

    @contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; raises UnusableError for what keeps it from being of use."""
        try:
            yield self.get()
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # of what was asked for, or a bug of ours: no fault of the file
        except (sqlite3.Error, OSError) as error:
            self.failed(error)
            raise unusable(self.path, error) from error

    def failed(self, error: Broken) -> None:
        """Say that the connection was of no use; it is made anew if that may help."""
        if _code(error) in _OF_THE_FILE:
            self._let_go()

    def close(self) -> None:
        """Let go of the file for good."""
        self.is_closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None


def is_damaged(error: Broken) -> bool:
    """Whether a file is none of SQLite's, or not whole."""
    return _code(error) in _DAMAGED


def is_misread(error: Broken) -> bool:
    """Whether a file is that, or has not the tables that it should."""
    return is_damaged(error) or _code(error) == sqlite3.SQLITE_ERROR


def is_locked(error: Broken) -> bool:
    """Whether another process holds a file for too long."""
    return _code(error) in _LOCKED or isinstance(error, BlockingIOError)


def what_to_do(path: Path, error: Broken) -> str:
    """Return what is wrong with a file, and what to do about it."""
    says_it = isinstance(error, UnusableError) or (
        isinstance(error, OSError) and error.errno is None
    )
    if says_it:
        return str(error)
    if is_full(error):
        return f"{path} cannot be written, the disk is full: make room there"
    if is_locked(error):
        return f"{path} is locked by another process: end what holds it"
    if is_damaged(error):
        return f"{path} is damaged ({error}): put a copy of it back, or move it away"
    what = error.strerror if isinstance(error, OSError) else error
    return f"{path} cannot be used ({what}): {remedy(error, 'it and its folder')}"


def remedy(error: Broken, places: str) -> str:
    """Return what to do where files cannot be used; ``places`` are what has to be written to."""
    if is_full(error):
        return "make room there"
    if _is_bounded(error):
        return (
            "files of this process may not grow: raise that limit (`ulimit -f`, LimitFSIZE= of a"
            " service)"
        )
    if isinstance(error, IsADirectoryError):
        return "move the folder of that name away"
    if _code(error) == sqlite3.SQLITE_IOERR or getattr(error, "errno", None) == errno.EIO:
        return "the disk fails: the host's log (`journalctl -k`) says how"
    return f"let the user who serves (uid {os.geteuid()}) read and write {places}"


def unusable(path: Path, error: Broken) -> UnusableError:
    """Return an error in the words of ``what_to_do``; a full disk is still told by it."""
    if isinstance(error, UnusableError):
        return error
    # Its folder may be what cannot be used, or what was to be put in its place.
    named = getattr(error, "filename", None)
    path = Path(named) if named and not is_full(error) else path
    return UnusableError(errno.ENOSPC if is_full(error) else errno.EIO, what_to_do(path, error))


def _is_bounded(error: Broken) -> bool:
    """Whether a limit on the size of files is what a write has met; SQLite does not tell it."""
    if isinstance(error, OSError):
        return error.errno == errno.EFBIG
    bound = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return _code(error) == sqlite3.SQLITE_IOERR and bound != resource.RLIM_INFINITY


def _code(error: Broken) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - before each use, and twice as fast as a Path's
    except OSError:
        return None
    # No file of ours has no bytes: one that was emptied is another one.
    return (found.st_dev, found.st_ino) if found.st_size else None
