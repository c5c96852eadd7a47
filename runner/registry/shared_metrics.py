"""Plugins' counts and times in a file, for all processes of a server and for after a restart.

A registry that is given one writes every call to it, and shows what it says. Nothing here ends a
call, or keeps a server from starting: what cannot be written is written with a later call, and a
file that is of no use is set aside. What is wrong is logged once, and told by ``problem``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from toolrunner.runner.registry.counts import Counted, Uncounted, Unwritten, merged
from toolrunner.runner.registry.plugin_state import AVERAGED_CALLS, PluginState, PluginStatus
from toolrunner.runner.state.database import connect, open_database, transaction
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.state.reopened import Broken, Reopened, is_damaged, what_to_do
from toolrunner.sandbox import forks

_LOG = logging.getLogger("toolrunner.registry")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS plugins (
  name TEXT PRIMARY KEY,
  state TEXT NOT NULL DEFAULT 'LOADED',
  successes INTEGER NOT NULL DEFAULT 0,
  errors INTEGER NOT NULL DEFAULT 0,
  last_used REAL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reasons (
  plugin TEXT PRIMARY KEY,
  reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
  plugin TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS times (
  plugin TEXT NOT NULL,
  slot INTEGER NOT NULL,
  number INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  PRIMARY KEY (plugin, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS running (
  worker TEXT NOT NULL,
  plugin TEXT NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (worker, plugin)
) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
_BUSY_SECONDS = 10.0
FILE = "metrics.sqlite3"
ASIDE = f"{FILE}.broken"
_LOCK_FILE = "metrics.lock"
# What SQLite has beside a file; only with them it is whole.
_BESIDE = ("", "-wal", "-shm")


class SharedMetrics:
    """Counts of all processes that share a state folder; see ``SharedCounts``. Thread-safe."""

    def __init__(self, folder: Path, lease: Lease) -> None:
        """Open the file, or make it; ``lease`` says when this process is no more."""
        self._lease = lease
        self._path = folder / FILE
        self._file = Reopened(self._path, self._open)
        self._trouble = ""
        self._begin()
        forks.in_each_child(self, SharedMetrics._begin)
        self._write(lambda _database: None)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._unwritten = Unwritten()

    def problem(self) -> str:
        with self._lock:
            self._write_counts()
            if self._trouble:
                return f"{self._trouble}; until then each process shows its own counts"
        return ""

    def set_aside(self) -> str:
        aside = self._path.with_name(ASIDE)
        if not os.path.lexists(aside):
            return ""
        return (
            f"{FILE} could not be used and was set aside as {aside}, and the counts have begun"
            " anew: delete that file once nobody needs it"
        )

    def _open(self) -> sqlite3.Connection:
        """Open the file; one that is of no use is set aside first, by one process alone."""
        try:
            return self._opened()
        except (sqlite3.Error, OSError) as error:
            if not self._is_of_no_use(error):
                raise
        with _locked(self._path.with_name(_LOCK_FILE)):
            try:
                return self._opened()
            except (sqlite3.Error, OSError) as error:
                if not self._is_of_no_use(error):
                    raise
                self._set_aside(error)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        self._lease.insist()
        database = open_database(
            self._path,
            _SCHEMA,
            version=_VERSION,
            # A power cut may cost the last counts; nothing waits for the disk.
            synchronous="NORMAL",
            busy_seconds=_BUSY_SECONDS,
        )
        try:
            _check(database)
            with transaction(database):
                _forget_the_dead(database, self._lease)
        except BaseException:
            database.close()
            raise
        return database

    def _is_of_no_use(self, error: Broken) -> bool:
        """Whether a file will not get better by itself, as a full disk does, or a locked file."""
        if is_damaged(error):
            return True
        files = [Path(f"{self._path}{end}") for end in _BESIDE]
        there = [path for path in files if os.path.lexists(path)]
        return any(not path.is_file() or not os.access(path, os.R_OK | os.W_OK) for path in there)

    def _set_aside(self, error: Broken) -> None:
        """Keep a file of no use, in the place of an earlier one, and say so."""
        aside = self._path.with_name(ASIDE)
        for end in _BESIDE:
            with suppress(FileNotFoundError):
                Path(f"{self._path}{end}").rename(f"{aside}{end}")
        _LOG.error(
            "%s cannot be used (%s): it is set aside as %s, and the counts begin anew",
            self._path,
            error,
            aside.name,
        )

    def begin(self, name: str) -> None:
        with self._lock:
            counts = self._unwritten.used(name)
            counts.in_flight += 1
            self._write_counts()

    def record(
        self,
        name: str,
        state: PluginState | None,
        elapsed_ms: int,
        *,
        had_error: bool,
        reason: str = "",
        failure: str = "",
    ) -> None:
        with self._lock:
            counts = self._unwritten.used(name)
            counts.end(state, elapsed_ms, had_error=had_error, reason=reason, failure=failure)
            self._write_counts()

    def settle(self, name: str, state: PluginState, reason: str) -> None:
        with self._lock:
            self._unwritten.settle(name, state, reason)
            self._write_counts()

    def applied(self, own: list[PluginStatus]) -> list[PluginStatus]:
        try:
            with self._lock:
                if self._unwritten:
                    self._write_counts()
                return self._read(own)
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            # No file of ours has times that are none; one that was damaged may.
            with self._lock:
                self._failed(error if isinstance(error, Broken) else sqlite3.DataError(str(error)))
            return own

    def _read(self, own: list[PluginStatus]) -> list[PluginStatus]:
        counted = _counted(self._file.get())
        return [merged(status, counted.get(status.name)) for status in own]

    def close(self) -> None:
        with self._lock:
            if self._unwritten:
                self._write_counts()
            self._write(partial(_forget, worker=self._lease.name))
            self._file.close()

    def _write_counts(self) -> None:
        """Write all counts; on a full disk, say, they wait for the next time."""

        def step(database: sqlite3.Connection) -> None:
            for name, counts in self._unwritten.items():
                _add(database, self._lease.name, name, counts)

        if self._write(step):
            self._unwritten.clear()

    def _write(self, step: Callable[[sqlite3.Connection], None]) -> bool:
        try:
            with transaction(self._file.get()) as database:
                step(database)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return False
        if self._trouble:
            self._trouble = ""
            _LOG.warning("%s can be used again", self._path)
        return True

    def _failed(self, error: Broken) -> None:
        """Say once what is wrong; what is counted waits."""
        self._file.failed(error)
        trouble = what_to_do(self._path, error)
        if trouble != self._trouble:
            self._trouble = trouble
            _LOG.error("the counts are kept, and this process shows its own: %s", trouble)


def kept_counts(folder: Path) -> dict[str, Counted]:
    """Return what is counted in a state folder, by plugin, for who counts nothing; none of no file.

    Raises OSError, and sqlite3.Error, for a file that cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    with closing(connect(path, synchronous="NORMAL", busy_seconds=_BUSY_SECONDS)) as database:
        return _counted(database)


def _counted(database: sqlite3.Connection) -> dict[str, Counted]:
    counts = {row[0]: row[1:] for row in database.execute(_COUNTS)}
    times: dict[str, list[int]] = {}
    for name, ms in database.execute(_TIMES):
        times.setdefault(name, []).append(ms)
    running = dict(database.execute(_RUNNING))
    failures = {row[0]: row[1:] for row in database.execute(_FAILURES)}
    return {
        name: Counted(
            state,
            reason,
            successes,
            errors,
            last_used,
            times.get(name, []),
            running.get(name, 0),
            *failures.get(name, ("", 0.0)),
        )
        for name, (state, successes, errors, last_used, reason) in counts.items()
    }


def _add(database: sqlite3.Connection, worker: str, name: str, counts: Uncounted) -> None:
    database.execute(
        "INSERT INTO running (worker, plugin, calls) VALUES (?1, ?2, max(0, ?3))"
        " ON CONFLICT DO UPDATE SET calls = max(0, calls + ?3)",
        (worker, name, counts.in_flight),
    )
    [number] = database.execute(
        "INSERT INTO plugins (name, state, successes, errors, last_used)"
        " VALUES (?1, coalesce(?2, 'LOADED'), ?3, ?4, ?5) ON CONFLICT DO UPDATE SET"
        " state = coalesce(?2, state), successes = successes + ?3, errors = errors + ?4,"
        " last_used = coalesce(?5, last_used) RETURNING successes + errors",
        (name, counts.state, counts.successes, counts.errors, counts.last_used),
    ).fetchone()
    if counts.state is not None:
        database.execute(
            "INSERT OR REPLACE INTO reasons (plugin, reason) VALUES (?, ?)", (name, counts.reason)
        )
    if counts.failure:
        database.execute(
            "INSERT OR REPLACE INTO failures (plugin, reason, at) VALUES (?, ?, ?)",
            (name, counts.failure, counts.failed_at),
        )
    first = number - len(counts.times) + 1
    database.executemany(
        "INSERT OR REPLACE INTO times (plugin, slot, number, ms) VALUES (?, ?, ?, ?)",
        [(name, n % AVERAGED_CALLS, n, ms) for n, ms in enumerate(counts.times, first)],
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out, for as long as it takes to set a file aside."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check(database: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError for a file that is not whole."""
    [[found]] = database.execute("PRAGMA quick_check(1)")
    if found != "ok":
        failed = sqlite3.DatabaseError(str(found))
        failed.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise failed


def _forget_the_dead(database: sqlite3.Connection, lease: Lease) -> None:
    """Drop what processes had in flight when they died."""
    for [worker] in database.execute("SELECT DISTINCT worker FROM running").fetchall():
        if lease.is_dead(worker):
            _forget(database, worker)


def _forget(database: sqlite3.Connection, worker: str) -> None:
    database.execute("DELETE FROM running WHERE worker = ?", (worker,))


_COUNTS = (
    "SELECT name, state, successes, errors, last_used, coalesce(reason, '')"
    " FROM plugins LEFT JOIN reasons ON plugin = name"
)
_TIMES = "SELECT plugin, ms FROM times ORDER BY plugin, number"
_RUNNING = "SELECT plugin, sum(calls) FROM running GROUP BY plugin"
_FAILURES = "SELECT plugin, reason, at FROM failures"
