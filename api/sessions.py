"""Sessions in a file of the state folder, which all processes of a server share.

What a session is stands in ``session``. A file of its own: losing it costs a sign-in.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolrunner.api.session import (
    IDLE_SECONDS,
    MOST_OF_A_KEY,
    MOST_SECONDS,
    NOTE_SECONDS,
    digest_of,
    is_over,
    new_token,
)
from toolrunner.runner.state.database import open_database, transaction
from toolrunner.runner.state.reopened import Reopened, UnusableError

FILE = "sessions.sqlite3"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  digest BLOB PRIMARY KEY,
  key TEXT NOT NULL,
  began REAL NOT NULL,
  seen REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
_BUSY_SECONDS = 10.0
_SWEEP = "DELETE FROM sessions WHERE began < ? OR seen < ?"
_DROP_FIRST = (
    "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE key = ?"
    " ORDER BY began DESC LIMIT -1 OFFSET ?)"
)


class SessionStore:
    """The sessions of one state folder, see ``Sessions``. Several processes may have it open."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened before it is needed."""
        self._lock = threading.Lock()
        self._path = folder / FILE
        self._file = Reopened(self._path, self._open)

    def _open(self) -> sqlite3.Connection:
        return open_database(
            self._path,
            _SCHEMA,
            version=_VERSION,
            synchronous="NORMAL",
            busy_seconds=_BUSY_SECONDS,
        )

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection."""
        with self._lock, self._file.using() as database:
            yield database

    def begin(self, key_id: str) -> str:
        token, now = new_token(), time.time()
        with self._using() as file, transaction(file) as database:
            database.execute(_SWEEP, (now - MOST_SECONDS, now - IDLE_SECONDS))
            database.execute(
                "INSERT INTO sessions (digest, key, began, seen) VALUES (?, ?, ?, ?)",
                (digest_of(token), key_id, now, now),
            )
            database.execute(_DROP_FIRST, (key_id, MOST_OF_A_KEY))
        return token

    def found(self, token: str) -> str:
        digest, now = digest_of(token), time.time()
        if digest is None:
            return ""
        with self._using() as database:
            row = database.execute(
                "SELECT key, began, seen FROM sessions WHERE digest = ?", (digest,)
            ).fetchone()
        if row is None or is_over(now, row[1], row[2]):
            return ""
        if now - row[2] > NOTE_SECONDS:
            self._note(digest, now)
        return str(row[0])

    def _note(self, digest: bytes, now: float) -> None:
        # On a full disk it ends sooner than it would have, and serves until then.
        with suppress(UnusableError), self._using() as database:
            database.execute("UPDATE sessions SET seen = ? WHERE digest = ?", (now, digest))

    def end(self, token: str) -> None:
        with self._using() as database:
            database.execute("DELETE FROM sessions WHERE digest = ?", (digest_of(token),))

    def close(self) -> None:
        with self._lock:
            self._file.close()
