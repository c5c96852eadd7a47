"""Counts and times of plugins' calls in PostgreSQL, summed over all processes of a cluster.

A process counts in memory, and writes what has come since as a batch, twice a second and at its
end. The batch has a number: one whose answer was lost is sent again, and counted once. So a
process that dies takes its last batch with it, and nothing else. What it had in flight is not
counted once it has been silent for a while. While PostgreSQL is away the batch grows.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.rows import NOW, Row
from toolrunner.runner.jobs.postgres.together import Together, Versions
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.registry.counts import Counted, Uncounted, Unwritten, merged
from toolrunner.runner.registry.plugin_state import AVERAGED_CALLS, PluginState, PluginStatus
from toolrunner.sandbox import forks

_LOG = logging.getLogger("toolrunner.registry")
# So many rows hold one plugin's counts: as many processes write at once without waiting.
_PARTS = 16
_SEEN_SECONDS = 5.0
_SILENT_SECONDS = 15
# Whoever comes back later than that has nothing in doubt any more.
_FORGOTTEN_SECONDS = 24 * 3600
_NEXT_BATCH = """
INSERT INTO counters AS mine (process, batch) VALUES (%(process)s, %(batch)s)
ON CONFLICT (process) DO UPDATE SET batch = excluded.batch, seen = clock_timestamp()
WHERE mine.batch < excluded.batch RETURNING process
"""
_ADD = f"""
INSERT INTO counts AS kept (plugin, part, successes, errors, state, reason, stated, last_used,
  failure, failed, times_ms, times_at)
VALUES (%(plugin)s, %(part)s, %(successes)s, %(errors)s, %(state)s, %(reason)s,
  CASE WHEN %(state)s::text IS NOT NULL THEN {NOW} END, {NOW} - %(used_ago)s::float8,
  %(failure)s, {NOW} - %(failed_ago)s::float8, %(times)s::bigint[],
  array_fill({NOW}, ARRAY[cardinality(%(times)s::bigint[])]))
ON CONFLICT (plugin, part) DO UPDATE SET
  successes = kept.successes + excluded.successes,
  errors = kept.errors + excluded.errors,
  state = coalesce(excluded.state, kept.state),
  reason = CASE WHEN excluded.state IS NULL THEN kept.reason ELSE excluded.reason END,
  stated = coalesce(excluded.stated, kept.stated),
  last_used = coalesce(excluded.last_used, kept.last_used),
  failure = coalesce(excluded.failure, kept.failure),
  failed = coalesce(excluded.failed, kept.failed),
  times_ms = (excluded.times_ms || kept.times_ms)[1:{AVERAGED_CALLS}],
  times_at = (excluded.times_at || kept.times_at)[1:{AVERAGED_CALLS}]
"""  # noqa: S608 - ours alone
_FLY = """
INSERT INTO in_flight (process, plugin, calls) VALUES (%(process)s, %(plugin)s, %(calls)s)
ON CONFLICT (process, plugin) DO UPDATE SET calls = excluded.calls
"""
_IN_FLIGHT = """
SELECT plugin, sum(calls)::bigint AS calls FROM in_flight JOIN counters USING (process)
WHERE seen > clock_timestamp() - make_interval(secs => %s) GROUP BY plugin
"""
_SEEN = "UPDATE counters SET seen = clock_timestamp() WHERE process = %s"
_FORGET = "DELETE FROM counters WHERE seen < clock_timestamp() - make_interval(secs => %s)"


class ClusterCounts:
    """The counts of all processes of a cluster; see ``SharedCounts``. Thread-safe."""

    def __init__(self, together: Together) -> None:
        """Nothing is written before something is counted."""
        self._together = together
        self._begin()
        forks.in_each_child(self, ClusterCounts._begin)
        together.add(
            self, "counts wait until they can be written", "what was counted meanwhile is written"
        )

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._process = uuid.uuid4().hex
        self._part = int(self._process, 16) % _PARTS
        self._batch = 0
        # What was sent as the batch of that number, and may have been counted.
        self._sent = Unwritten()
        self._seen = float("-inf")
        self._uncounted = Unwritten()
        self._in_flight: dict[str, int] = {}

    def problem(self) -> str:
        away = self._together.away
        if away is None:
            return ""
        return f"counts wait in memory, and each process shows its own: {away}"

    def set_aside(self) -> str:
        return ""

    def begin(self, name: str) -> None:
        with self._lock:
            self._uncounted.used(name).in_flight += 1
            self._in_flight[name] = self._in_flight.get(name, 0) + 1

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
            counts = self._uncounted.used(name)
            counts.end(state, elapsed_ms, had_error=had_error, reason=reason, failure=failure)
            self._in_flight[name] = max(0, self._in_flight.get(name, 0) - 1)

    def settle(self, name: str, state: PluginState, reason: str) -> None:
        with self._lock:
            self._uncounted.settle(name, state, reason)

    def is_due(self, versions: Versions) -> bool:  # noqa: ARG002 - nothing is read of others
        """Whether something was counted, or is in flight and has to be shown to be so."""
        with self._lock:
            is_flying = any(self._in_flight.values())
            is_silent = is_flying and time.monotonic() - self._seen > _SEEN_SECONDS
            return bool(self._uncounted or self._sent) or is_silent

    def step(self, connection: Connection, versions: Versions) -> None:  # noqa: ARG002 - same
        """Write what was counted, as one batch."""
        with self._writing:
            with self._lock:
                if not self._sent and self._uncounted:
                    self._sent, self._uncounted = self._uncounted, Unwritten()
                    self._batch += 1
                calls = {name: self._in_flight.get(name, 0) for name in self._sent}
            with connection.transaction():
                if self._sent:
                    self._write(connection, calls)
                else:
                    connection.execute(_SEEN, (self._process,))
            self._sent, self._seen = Unwritten(), time.monotonic()

    def _write(self, connection: Connection, calls: Mapping[str, int]) -> None:
        """Write the batch, unless it was counted before, and what is in flight."""
        mine = {"process": self._process, "batch": self._batch}
        if connection.execute(_NEXT_BATCH, mine).fetchone() is not None:
            # All processes in one order, so that none waits for one that waits for it.
            rows = [_row(name, self._part, counts) for name, counts in sorted(self._sent.items())]
            with connection.cursor() as cursor:
                cursor.executemany(_ADD, rows)
        with connection.cursor() as cursor:
            cursor.executemany(
                _FLY,
                [
                    {"process": self._process, "plugin": name, "calls": number}
                    for name, number in calls.items()
                ],
            )

    def applied(self, own: list[PluginStatus]) -> list[PluginStatus]:
        if self._together.away is not None:
            return own
        try:
            with self._together.reading() as connection:
                if self.is_due({}):
                    self.step(connection, {})
                counted = _read(connection)
        except StoreError as error:
            _LOG.warning("this process shows its own counts: %s", error)
            return own
        return [merged(status, counted.get(status.name)) for status in own]

    def close(self) -> None:
        if self._together.away is not None:
            return
        with suppress(StoreError), self._together.reading() as connection:
            if self.is_due({}):
                self.step(connection, {})
            connection.execute("DELETE FROM counters WHERE process = %s", (self._process,))
            connection.execute(_FORGET, (_FORGOTTEN_SECONDS,))


def _row(name: str, part: int, counts: Uncounted) -> dict[str, Any]:
    now = time.time()
    return {
        "plugin": name,
        "part": part,
        "successes": counts.successes,
        "errors": counts.errors,
        "state": None if counts.state is None else str(counts.state),
        "reason": counts.reason,
        "used_ago": None if counts.last_used is None else max(0.0, now - counts.last_used),
        "failure": counts.failure or None,
        "failed_ago": max(0.0, now - counts.failed_at) if counts.failure else None,
        "times": list(reversed(counts.times)),
    }


def _read(connection: Connection) -> dict[str, Counted]:
    """Return what all have counted, by plugin."""
    calls = {
        row["plugin"]: row["calls"] for row in connection.execute(_IN_FLIGHT, (_SILENT_SECONDS,))
    }
    parts: dict[str, list[Row]] = {}
    for row in connection.execute("SELECT * FROM counts"):
        parts.setdefault(row["plugin"], []).append(row)
    return {name: _sum(rows, calls.get(name, 0)) for name, rows in parts.items()}


def _sum(rows: list[Row], in_flight: int) -> Counted:
    """Return one plugin's parts together: what came last decides where there is no sum."""
    last = max(rows, key=lambda row: row["stated"] or 0.0)
    failed = max(rows, key=lambda row: row["failed"] or 0.0)
    used = [row["last_used"] for row in rows if row["last_used"] is not None]
    # The newest are first in each; those of one batch have one time.
    times = [
        (at, -place, ms)
        for row in rows
        for place, (at, ms) in enumerate(zip(row["times_at"], row["times_ms"], strict=True))
    ]
    return Counted(
        last["state"] or PluginState.LOADED.value,
        last["reason"],
        sum(row["successes"] for row in rows),
        sum(row["errors"] for row in rows),
        max(used, default=None),
        [ms for _, _, ms in sorted(times)[-AVERAGED_CALLS:]],
        in_flight,
        failed["failure"] or "",
        failed["failed"] or 0.0,
    )
