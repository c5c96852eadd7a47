"""Opens the SQLite files of a state folder, all in one way.

Write-ahead, so that readers hold up nobody; for one owner's eyes; one connection a process, which
its holder guards by a lock of its own.
"""

from __future__ import annotations

import errno
import re
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from toolrunner.sandbox import forks

FULL_DISK_SECONDS = 60  # before it is worth asking again

_RETRY_SECONDS = 0.01
_MODE = 0o600


class Database(sqlite3.Connection):
    """A connection that refuses to be used in a fork of its process, as SQLite demands."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - sqlite3's own
        super().__init__(*arguments, **options)
        self._is_foreign = False
        forks.in_each_child(self, Database._in_child)

    def _in_child(self) -> None:
        self._is_foreign = True

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - same
        """Run one statement."""
        self._refuse_in_a_fork()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run one statement with each of some values."""
        self._refuse_in_a_fork()
        return super().executemany(sql, parameters)

    def close(self) -> None:
        """Close it, if it is this process's: the parent's locks hang on it."""
        if not self._is_foreign:
            super().close()

    def _refuse_in_a_fork(self) -> None:
        if self._is_foreign:
            message = "this file was opened before a fork: make a Backend in each process, after it"
            raise sqlite3.ProgrammingError(message)


def open_database(
    path: Path,
    schema: str,
    *,
    version: int,
    synchronous: Literal["FULL", "NORMAL"],
    busy_seconds: float,
) -> sqlite3.Connection:
    """Open a file, or make it with ``schema``; raises OSError for one of another version.

    One that has all that it needs is not written to: it can be read on a full disk too. One whose
    tables change from version to version is opened by ``open_migrated``.
    """
    database = connect(path, synchronous=synchronous, busy_seconds=busy_seconds)
    try:
        _complete(database, path, schema, version)
    except BaseException:
        database.close()
        raise
    return database


def _complete(database: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    found = database.execute("PRAGMA user_version").fetchone()[0]
    if found not in {0, version}:
        message = f"{path} was written by another version of toolrunner: move it away"
        raise OSError(message)
    if found != version or not _has_all(database, schema):
        script = f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {version}; COMMIT;"
        database.executescript(script)


def _has_all(database: sqlite3.Connection, schema: str) -> bool:
    """Whether a file has each table and index of a schema."""
    there = {name for [name] in database.execute("SELECT name FROM sqlite_master")}
    return there.issuperset(re.findall(r"\bIF NOT EXISTS (\w+)", schema))


def connect(
    path: Path, *, synchronous: Literal["FULL", "NORMAL"], busy_seconds: float
) -> sqlite3.Connection:
    """Open a file as it is; an empty one is made if there is none.

    ``synchronous``: whether a change is on disk when its transaction ends (FULL), or may be lost
    with the power (NORMAL). ``busy_seconds``: how long to wait for other processes.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        factory=Database,
    )
    try:
        if stat.S_IMODE(path.stat().st_mode) != _MODE:  # else it may be on a read-only disk
            path.chmod(_MODE)
        _keep_a_log(database, busy_seconds)
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        database.close()
        raise
    return database


def _keep_a_log(database: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to a write-ahead log; SQLite itself does not wait for others who do the same."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that the disk has no room."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Change a file in one step: whole, or after an exception not at all."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
