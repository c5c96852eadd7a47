"""The SQLite file of jobs, open for as long as it can be; what is wrong with it is a StoreError.

It is opened, and opened again, as every file of the state folder (``Reopened``). What is wrong is
for who uses it to tell; nothing here ends a server.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from toolrunner.runner.jobs.sqlite_rows import STEPS
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.state.database import connect, is_full, transaction
from toolrunner.runner.state.migrations import open_migrated
from toolrunner.runner.state.reopened import Broken, Reopened, is_locked, is_misread, what_to_do
from toolrunner.sandbox import forks

_LOG = logging.getLogger("toolrunner.jobs")

FILE = "jobs.sqlite3"
_BUSY_SECONDS = 20.0


class JobDatabase:
    """One connection of this process. Thread-safe: one step at a time."""

    def __init__(
        self, folder: Path, on_new: Callable[[sqlite3.Connection], None], *, may_migrate: bool
    ) -> None:
        """Look below ``folder``; ``on_new`` belongs to the making of a file."""
        self._may_migrate = may_migrate
        self.path = folder / FILE
        self._on_new = on_new
        self._file = Reopened(self.path, self._open, self._replaced)
        # How often it was opened: what was written through an earlier connection may be gone.
        self.openings = 0
        self._begin()
        forks.in_each_child(self, JobDatabase._begin)

    def _begin(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection."""
        with self._lock, self._explained():
            yield self._connection()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's one write lock; what is done meanwhile is done whole, or not at all."""
        with self._lock, self._explained(), transaction(self._connection()) as database:
            yield database

    @contextmanager
    def aside(self) -> Iterator[sqlite3.Connection]:
        """Read by a connection of its own: what takes long holds up nobody."""
        with self.reading():
            pass  # so that the file is there, and one of ours
        try:
            other = connect(self.path, synchronous="FULL", busy_seconds=_BUSY_SECONDS)
            with closing(other):
                other.row_factory = sqlite3.Row
                yield other
        except sqlite3.Error as error:
            raise self._told(error) from error

    def shrink_log(self) -> None:
        """Move what the log holds into the file, as far as nobody reads it: it begins anew then."""
        with self.reading() as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Let go of the file for good."""
        with self._lock:
            self._file.close()

    def _connection(self) -> sqlite3.Connection:
        if self._file.is_closed:
            message = "the job store is closed"
            raise StoreError(errno.EBADF, message)
        try:
            return self._file.get()
        except StoreError:  # what a new file asks for, which says itself what is wrong
            raise
        except (OSError, sqlite3.Error) as error:
            raise self._told(error) from error

    def _open(self) -> sqlite3.Connection:
        database = open_migrated(
            self.path,
            STEPS,
            synchronous="FULL",
            busy_seconds=_BUSY_SECONDS,
            on_new=self._on_new,
            may_migrate=self._may_migrate,
        )
        database.row_factory = sqlite3.Row
        self.openings += 1
        return database

    def _replaced(self) -> None:
        _LOG.error(
            "%s was deleted, emptied or replaced while it was in use; what is there now is"
            " used from here on",
            self.path,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite raises into what can be done about it."""
        try:
            yield
        except sqlite3.ProgrammingError:  # a bug of ours, or a fork: no fault of the file
            raise
        except sqlite3.Error as error:
            self._file.failed(error)
            raise self._told(error) from error

    def _told(self, error: Broken) -> StoreError:
        return StoreError(errno.ENOSPC if is_full(error) else errno.EIO, self._problem(error))

    def _problem(self, error: Broken) -> str:
        """Return what is wrong with the file, and what to do."""
        if is_misread(error):
            return (
                f"{self.path} is damaged ({error}): stop the server and put a copy of it back; or,"
                " to begin anew without its jobs, move it away with payloads, results and artifacts"
                " beside it"
            )
        if is_locked(error):
            return f"{self.path} has been locked for {_BUSY_SECONDS:g} s: end what holds it"
        # Its folder may be what cannot be used, or the copy of an older file.
        named = getattr(error, "filename", None)
        return what_to_do(Path(named) if named and not is_full(error) else self.path, error)
