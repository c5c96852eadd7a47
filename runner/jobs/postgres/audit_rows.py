"""The audit logs of all servers of a cluster in one place: a table, bounded by its lines.

Each server's file is what is kept; here it can be read together. A process writes what has come as
a batch, twice a second and at its end. A line has its process and number, so that one whose answer
was lost is there once. While PostgreSQL is away some wait, and what is beyond that is in the
file alone.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
import uuid
from collections import deque
from contextlib import suppress
from typing import Any

from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.together import Together, Versions
from toolrunner.runner.jobs.store import StoreError

_LOG = logging.getLogger("toolrunner.audit")
# Of all servers together, the newest; and of one process while they cannot be written.
MOST_KEPT = 100_000
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 1000
_BOUND_SECONDS = 60.0
_ADD = """
INSERT INTO audit (process, number, host, caller, line)
VALUES (%(process)s, %(number)s, %(host)s, %(caller)s, %(line)s) ON CONFLICT DO NOTHING
"""
_BOUND = "DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - %s"
_READ = """
SELECT seq, host, line FROM audit
WHERE (%(before)s::bigint IS NULL OR seq < %(before)s)
  AND (%(caller)s::text IS NULL OR caller = %(caller)s)
ORDER BY seq DESC LIMIT %(limit)s
"""


class AuditRows:
    """The lines of all processes. Thread-safe."""

    def __init__(self, together: Together, *, most: int = MOST_KEPT) -> None:
        """Keep the newest ``most`` lines."""
        self._together = together
        self._most = most
        self._process = uuid.uuid4().hex
        self._host = platform.node()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._number = 0
        self._lost = 0
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._next_bound = 0.0
        together.add(
            self,
            "lines of the audit log wait to be where all servers' are; the file has them",
            "lines of the audit log are where all servers' are again",
        )

    def add(self, caller: str, line: str) -> None:
        """Have a line written soon."""
        with self._lock:
            self._number += 1
            self._lost += len(self._waiting) == _MOST_WAITING
            self._waiting.append(
                {
                    "process": self._process,
                    "number": self._number,
                    "host": self._host,
                    "caller": caller,
                    "line": line,
                }
            )

    def is_due(self, versions: Versions) -> bool:  # noqa: ARG002 - nothing is read of others
        """Whether a line waits."""
        return bool(self._waiting)

    def step(self, connection: Connection, versions: Versions) -> None:  # noqa: ARG002 - same
        """Write what waits, and delete what is too much."""
        with self._writing:
            while self._waiting:
                self._write(connection)
            if time.monotonic() >= self._next_bound:
                connection.execute(_BOUND, (self._most,))
                self._next_bound = time.monotonic() + _BOUND_SECONDS
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            _LOG.warning("%d lines of the audit log are in this server's file alone", lost)

    def _write(self, connection: Connection) -> None:
        with self._lock:
            batch = [
                self._waiting[place] for place in range(min(len(self._waiting), _MOST_AT_ONCE))
            ]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_ADD, batch)
        with self._lock:
            # What came meanwhile may have pushed out some of these.
            while self._waiting and self._waiting[0]["number"] <= batch[-1]["number"]:
                self._waiting.popleft()

    def read(
        self, *, limit: int, before: int | None, caller: str | None
    ) -> list[tuple[int, str, str]]:
        """Return the newest lines, each with its number in this table and its host.

        Only those of a number below ``before``. Raises StoreError.
        """
        with self._together.reading() as connection:
            if self._waiting:
                self.step(connection, {})
            values = {"limit": limit, "before": before, "caller": caller}
            rows = connection.execute(_READ, values)
            return [(row["seq"], row["host"], row["line"]) for row in rows]

    def close(self) -> None:
        """Write what waits, as far as that can be."""
        if self._together.away is not None:
            return
        with suppress(StoreError), self._together.reading() as connection:
            if self._waiting:
                self.step(connection, {})
