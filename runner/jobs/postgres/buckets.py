"""How often each key may ask, in all servers of a cluster together: a bucket of tokens a key.

A process takes half a second's worth at once, and gives back what it has not spent within one. So
a busy key costs two queries a second, and one that is refused costs none until it has to wait no
more. The table is not logged: no query waits for a disk, and a crash of PostgreSQL fills all
buckets.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from toolrunner.runner.jobs.postgres.rows import NOW
from toolrunner.runner.jobs.postgres.together import Together

_SECONDS_A_MINUTE = 60.0
_PORTIONS_A_MINUTE = 120
_KEPT_SECONDS = 1.0
_TAKE = f"""
INSERT INTO rates AS kept (key, tokens, granted, filled)
VALUES (%(key)s, %(most)s - %(wanted)s, %(wanted)s, {NOW})
ON CONFLICT (key) DO UPDATE SET (tokens, granted, filled) = (
  SELECT there - least(%(wanted)s, floor(there)), least(%(wanted)s, floor(there)), {NOW}
  FROM (SELECT least(%(most)s,
    kept.tokens + %(back)s + greatest(0, {NOW} - kept.filled) * %(rate)s) AS there) AS bucket
) RETURNING tokens, granted
"""  # noqa: S608 - ours alone


@dataclass(slots=True)
class _Portion:
    """What this process has of a key's bucket, by its own clock."""

    tokens: int = 0
    until: float = 0.0
    refused_until: float = 0.0


class Buckets:
    """The buckets of all keys. Thread-safe."""

    def __init__(self, together: Together) -> None:
        """Nothing is asked before it is needed."""
        self._together = together
        self._lock = threading.Lock()
        self._portions: dict[str, _Portion] = {}

    def take(self, key_id: str, per_minute: int) -> float:
        """Count one request; return 0, or the seconds to wait for a key that is over its rate.

        A minute's worth can be had at once; then it comes back evenly. Raises StoreError while
        PostgreSQL is away.
        """
        with self._lock:
            now = time.monotonic()
            portion = self._portions.setdefault(key_id, _Portion())
            if portion.tokens and now < portion.until:
                portion.tokens -= 1
                return 0.0
            if now < portion.refused_until:
                return portion.refused_until - now
            back, portion.tokens = portion.tokens, 0
        if (away := self._together.away) is not None:
            raise away
        rate = per_minute / _SECONDS_A_MINUTE
        values = {
            "key": key_id,
            "most": float(per_minute),
            "wanted": float(max(1, per_minute // _PORTIONS_A_MINUTE)),
            "back": float(back),
            "rate": rate,
        }
        with self._together.reading() as connection:
            row = connection.execute(_TAKE, values).fetchone()
        assert row is not None
        granted = int(row["granted"])
        with self._lock:
            now = time.monotonic()
            if granted:
                portion.tokens += granted - 1
                portion.until = now + _KEPT_SECONDS
                return 0.0
            wait = (1 - float(row["tokens"])) / rate
            portion.refused_until = now + wait
            return wait

    def forget(self, key_id: str) -> None:
        """Remove what is left of a key that was revoked; raises StoreError."""
        with self._together.reading() as connection:
            connection.execute("DELETE FROM rates WHERE key = %s", (key_id,))
