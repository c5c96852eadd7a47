"""Plugins' counts and times in a file, for all processes of a server and for after a restart.

A registry that is given one writes every call to it, and shows what it says. Nothing here ends a
call: what cannot be written is logged, and written with the next call.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from toolrunner.runner.registry.plugin_state import AVERAGED_CALLS, PluginState, PluginStatus
from toolrunner.runner.state.database import open_database, transaction
from toolrunner.runner.state.leases import Lease
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


@dataclass(slots=True)
class _Counts:
    """What has become of a plugin since its counts were last written."""

    in_flight: int = 0
    successes: int = 0
    errors: int = 0
    state: PluginState | None = None
    reason: str = ""
    last_used: float | None = None
    times: deque[int] = field(default_factory=lambda: deque(maxlen=AVERAGED_CALLS))


class SharedMetrics:
    """Counts of all processes that share a state folder. Thread-safe."""

    def __init__(self, folder: Path, lease: Lease) -> None:
        """Open the file, or make it; ``lease`` says when this process is no more."""
        self._lease = lease
        self._begin()
        forks.in_each_child(self, SharedMetrics._begin)
        self._database = open_database(
            folder / "metrics.sqlite3",
            _SCHEMA,
            version=_VERSION,
            # A power cut may cost the last counts; nothing waits for the disk.
            synchronous="NORMAL",
            busy_seconds=_BUSY_SECONDS,
        )
        self._forget_the_dead()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._unwritten: dict[str, _Counts] = {}

    def begin(self, name: str) -> None:
        """Count a call in."""
        with self._lock:
            counts = self._counts_of(name)
            counts.in_flight += 1
            self._write_counts()

    def record(
        self, name: str, state: PluginState, elapsed_ms: int, *, had_error: bool, reason: str = ""
    ) -> None:
        """Count a call out, with the state that it has left behind, and the reason of that."""
        with self._lock:
            counts = self._counts_of(name)
            counts.in_flight -= 1
            counts.successes += not had_error
            counts.errors += had_error
            counts.state, counts.reason = state, reason
            counts.times.append(max(0, elapsed_ms))
            self._write_counts()

    def settle(self, name: str, state: PluginState, reason: str) -> None:
        """Note a state that no call has left behind, and why."""
        with self._lock:
            counts = self._unwritten.setdefault(name, _Counts())
            counts.state, counts.reason = state, reason
            self._write_counts()

    def applied(self, own: list[PluginStatus]) -> list[PluginStatus]:
        """Return the statuses of this process with the counts and times of all."""
        try:
            with self._lock:
                if self._unwritten:
                    self._write_counts()
                counts = {row[0]: row[1:] for row in self._database.execute(_COUNTS)}
                times: dict[str, list[int]] = {}
                for name, ms in self._database.execute(_TIMES):
                    times.setdefault(name, []).append(ms)
                running = dict(self._database.execute(_RUNNING))
        except sqlite3.Error:
            _LOG.exception("the shared metrics cannot be read; this process shows its own")
            return own
        return [
            _merged(status, counts.get(status.name), times.get(status.name, []), running)
            for status in own
        ]

    def close(self) -> None:
        """Count this process's calls in flight no more, and close the file."""
        with self._lock:
            if self._unwritten:
                self._write_counts()
            self._write(partial(_forget, worker=self._lease.name))
            self._database.close()

    def _forget_the_dead(self) -> None:
        """Drop what processes had in flight when they died."""

        def step(database: sqlite3.Connection) -> None:
            workers = [row[0] for row in database.execute("SELECT DISTINCT worker FROM running")]
            for worker in workers:
                if self._lease.is_dead(worker):
                    _forget(database, worker)

        with self._lock:
            self._write(step)

    def _counts_of(self, name: str) -> _Counts:
        """Return what of a plugin waits to be written; it has been used now."""
        counts = self._unwritten.setdefault(name, _Counts())
        counts.last_used = time.time()
        return counts

    def _write_counts(self) -> None:
        """Write all counts; on a full disk, say, they wait for the next time."""

        def step(database: sqlite3.Connection) -> None:
            for name, counts in self._unwritten.items():
                _add(database, self._lease.name, name, counts)

        if self._write(step):
            self._unwritten.clear()

    def _write(self, step: Callable[[sqlite3.Connection], None]) -> bool:
        try:
            with transaction(self._database) as database:
                step(database)
        except sqlite3.Error:
            _LOG.exception("the shared metrics cannot be written now; the counts are kept")
            return False
        return True


def _add(database: sqlite3.Connection, worker: str, name: str, counts: _Counts) -> None:
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
    first = number - len(counts.times) + 1
    database.executemany(
        "INSERT OR REPLACE INTO times (plugin, slot, number, ms) VALUES (?, ?, ?, ?)",
        [(name, n % AVERAGED_CALLS, n, ms) for n, ms in enumerate(counts.times, first)],
    )


def _forget(database: sqlite3.Connection, worker: str) -> None:
    database.execute("DELETE FROM running WHERE worker = ?", (worker,))


_COUNTS = (
    "SELECT name, state, successes, errors, last_used, coalesce(reason, '')"
    " FROM plugins LEFT JOIN reasons ON plugin = name"
)
_TIMES = "SELECT plugin, ms FROM times ORDER BY plugin, number"
_RUNNING = "SELECT plugin, sum(calls) FROM running GROUP BY plugin"


def _merged(
    status: PluginStatus,
    counts: tuple[str, int, int, float | None, str] | None,
    times: list[int],
    running: dict[str, int],
) -> PluginStatus:
    if counts is None:
        return status
    settled, successes, errors, last_used, reason = counts
    in_flight = running.get(status.name, 0)
    state = status.state
    if state == PluginState.UNAVAILABLE:
        reason = status.reason  # each process's own to know
    else:
        state = PluginState.RUNNING.value if in_flight else settled
    return replace(
        status,
        state=state,
        reason=reason,
        success_count=successes,
        error_count=errors,
        last_used=None if last_used is None else datetime.fromtimestamp(last_used, UTC),
        last_execution_time_ms=times[-1] if times else None,
        avg_execution_time_ms=sum(times) / len(times) if times else None,
        in_flight=in_flight,
    )
