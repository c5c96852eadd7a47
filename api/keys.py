"""Keys: who may call from outside, which plugins, and how often. A file of the state folder.

A token is shown once, when it is made. What is stored is its SHA-256: the secret is 256 random
bits, which nobody can try out, so a slow hash would only slow every request down. All processes of
a server share the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolrunner.runner.state.database import open_database, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  plugins TEXT,
  per_minute INTEGER,
  created REAL NOT NULL,
  revoked REAL,
  tokens REAL NOT NULL DEFAULT 0,
  filled REAL NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS keys_name ON keys (name) WHERE revoked IS NULL;
"""
_VERSION = 1
_BUSY_SECONDS = 10.0
_TOKEN = re.compile(r"tr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
# Never what could be an id.
_NAME = re.compile(r"(?![0-9a-f]{8}$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODY = bytes(hashlib.sha256().digest_size)
_SECONDS_A_MINUTE = 60.0
MOST_PER_MINUTE = 1_000_000


class KeyRefusedError(Exception):
    """A key that cannot be made; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``plugins`` is ``None`` for all, ``per_minute`` for as often as wanted."""

    id: str
    name: str
    plugins: tuple[str, ...] | None
    per_minute: int | None
    created_at: datetime
    revoked_at: datetime | None


class KeyStore:
    """The keys of one state folder. Thread-safe; several processes may have it open."""

    def __init__(self, folder: Path) -> None:
        """Open the file, or make it; raises OSError and sqlite3.Error."""
        self._lock = threading.Lock()
        self._database = open_database(
            folder / "keys.sqlite3",
            _SCHEMA,
            version=_VERSION,
            synchronous="FULL",
            busy_seconds=_BUSY_SECONDS,
        )
        self._database.row_factory = sqlite3.Row

    def create(
        self, name: str, *, plugins: Sequence[str] | None = None, per_minute: int | None = None
    ) -> tuple[Key, str]:
        """Make a key; return it and its token, which nobody can read again.

        Raises KeyRefusedError for a name that is taken or none, and a rate that is none.
        """
        if not _NAME.fullmatch(name):
            message = f"{name[:100]!r} cannot be a key's name: take letters, digits, . _ and -"
            raise KeyRefusedError(message)
        if per_minute is not None and not 1 <= per_minute <= MOST_PER_MINUTE:
            message = f"a key allows 1 to {MOST_PER_MINUTE:,} requests a minute"
            raise KeyRefusedError(message)
        key_id = secrets.token_hex(4)
        token = f"tr_{key_id}_{secrets.token_urlsafe(32)}"
        named = None if plugins is None else json.dumps(sorted(set(plugins)))
        now = time.time()
        values = (key_id, name, _digest(token), named, per_minute, now, per_minute or 0, now)
        try:
            with self._lock, transaction(self._database) as database:
                database.execute(
                    "INSERT INTO keys (id, name, digest, plugins, per_minute, created, tokens,"
                    " filled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        except sqlite3.IntegrityError:
            message = f"there is a key named {name!r} already: revoke it, or take another name"
            raise KeyRefusedError(message) from None
        key = Key(
            key_id,
            name,
            None if plugins is None else tuple(sorted(set(plugins))),
            per_minute,
            datetime.fromtimestamp(now, UTC),
            None,
        )
        return key, token

    def list(self) -> list[Key]:
        """Return all keys, the oldest first, revoked ones included."""
        with self._lock:
            return [_key(row) for row in self._database.execute(_ALL)]

    def has_keys(self) -> bool:
        """Tell whether there is a key that has not been revoked."""
        return any(key.revoked_at is None for key in self.list())

    def revoke(self, id_or_name: str) -> Key | None:
        """Let a key be of no more use, from the next request on; ``None`` when there is none."""
        with self._lock, transaction(self._database) as database:
            row = database.execute(
                "UPDATE keys SET revoked = ? WHERE (id = ?2 OR name = ?2) AND revoked IS NULL"
                " RETURNING *",
                (time.time(), id_or_name),
            ).fetchone()
        return None if row is None else _key(row)

    def verify(self, token: str) -> Key | None:
        """Return the key that a token belongs to; ``None`` when it is unknown or revoked.

        Takes the same time for a wrong secret of a known key and for an unknown one.
        """
        match = _TOKEN.fullmatch(token)
        with self._lock:
            row = _by_id(self._database, match.group(1) if match else "")
        stored = _NOBODY if row is None else row["digest"]
        is_same = hmac.compare_digest(_digest(token), stored)
        if row is None or not is_same or row["revoked"] is not None:
            return None
        return _key(row)

    def take(self, key: Key) -> float:
        """Count one request; return 0, or the seconds to wait when the key is over its rate.

        A minute's worth of requests can be made at once; then they come back evenly. The count is
        of all processes together.
        """
        if key.per_minute is None:
            return 0.0
        rate = key.per_minute / _SECONDS_A_MINUTE
        now = time.time()
        with self._lock, transaction(self._database) as database:
            [tokens, filled] = database.execute(
                "SELECT tokens, filled FROM keys WHERE id = ?", (key.id,)
            ).fetchone()
            # A clock that was set back lets nothing flow out again.
            flowed = max(0.0, now - filled) * rate
            tokens = min(float(key.per_minute), tokens + flowed)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / rate
            left = tokens if wait else tokens - 1
            database.execute(
                "UPDATE keys SET tokens = ?, filled = ? WHERE id = ?", (left, now, key.id)
            )
        return wait

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()


_ALL = "SELECT * FROM keys ORDER BY created, id"


def _by_id(database: sqlite3.Connection, key_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None
    row = database.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
    return row


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _key(row: sqlite3.Row) -> Key:
    plugins = row["plugins"]
    return Key(
        id=row["id"],
        name=row["name"],
        plugins=None if plugins is None else tuple(json.loads(plugins)),
        per_minute=row["per_minute"],
        created_at=datetime.fromtimestamp(row["created"], UTC),
        revoked_at=None if row["revoked"] is None else datetime.fromtimestamp(row["revoked"], UTC),
    )
