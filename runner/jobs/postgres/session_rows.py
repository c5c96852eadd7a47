"""Who has signed in to the page of a cluster, in its PostgreSQL: any server knows a browser again.

What a session is, and when it ends, is not known here. Times are PostgreSQL's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolrunner.runner.jobs.postgres.rows import NOW
from toolrunner.runner.jobs.postgres.together import Together

_ADD = f"INSERT INTO sessions (digest, key, began, seen) VALUES (%s, %s, {NOW}, {NOW})"  # noqa: S608 - ours
_SWEEP = f"DELETE FROM sessions WHERE began < {NOW} - %s OR seen < {NOW} - %s"  # noqa: S608 - same
_DROP_FIRST = (
    "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE key = %s"
    " ORDER BY began DESC OFFSET %s)"
)
_FIND = f"SELECT key, began, seen, {NOW} AS now FROM sessions WHERE digest = %s"  # noqa: S608 - same
_NOTE = f"UPDATE sessions SET seen = {NOW} WHERE digest = %s"  # noqa: S608 - same
_END = "DELETE FROM sessions WHERE digest = %s"


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it is kept, and what time it is. Times are seconds since 1970."""

    key: str
    began: float
    seen: float
    now: float


class SessionRows:
    """All sessions of a cluster. Thread-safe; each method raises StoreError."""

    def __init__(self, together: Together) -> None:
        """Nothing is asked before it is needed."""
        self._together = together

    def add(
        self,
        digest: bytes,
        key_id: str,
        *,
        most_seconds: float,
        idle_seconds: float,
        most_of_a_key: int,
    ) -> None:
        """Keep a new one; delete those that are older than that, or more."""
        with self._together.writing() as connection:
            connection.execute(_SWEEP, (most_seconds, idle_seconds))
            connection.execute(_ADD, (digest, key_id))
            connection.execute(_DROP_FIRST, (key_id, most_of_a_key))

    def found(self, digest: bytes) -> StoredSession | None:
        """Return one, also one that is over; ``None`` when there is none."""
        with self._together.reading() as connection:
            row = connection.execute(_FIND, (digest,)).fetchone()
        return None if row is None else StoredSession(**row)

    def note(self, digest: bytes) -> None:
        """Note that something was asked for in one."""
        with self._together.writing() as connection:
            connection.execute(_NOTE, (digest,))

    def end(self, digest: bytes) -> None:
        """Delete one."""
        with self._together.writing() as connection:
            connection.execute(_END, (digest,))
