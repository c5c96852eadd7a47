"""Keys in a file of the state folder, which all processes of a server share.

What a key is stands in ``key``.
"""

from __future__ import annotations

import builtins
import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from toolrunner.api.key import (
    MOST_PER_MINUTE,
    NOBODY,
    Key,
    KeyRefusedError,
    Role,
    digest_of,
    id_in,
    new_key,
    refuse_ambiguous,
    refuse_taken,
)
from toolrunner.api.rates import Rates
from toolrunner.runner.state.database import open_database, transaction
from toolrunner.runner.state.reopened import Reopened

__all__ = ["MOST_PER_MINUTE", "Key", "KeyRefusedError", "KeyStore", "Role"]

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
  filled REAL NOT NULL DEFAULT 0,
  role TEXT NOT NULL DEFAULT 'caller'
) STRICT, WITHOUT ROWID;
"""
# The same since there are roles: what knows of none can still read and write the file.
_VERSION = 1
_ADD_ROLES = "ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'caller'"
# An older toolrunner lets no two keys that are valid have one name, and makes this again; it cannot
# open the file while two have. So it goes only with the first key that is one too many for it.
_DROP_ONE_A_NAME = "DROP INDEX IF EXISTS keys_name"
_BUSY_SECONDS = 10.0
FILE = "keys.sqlite3"
# Of keys that may look while nobody can say whether they were revoked.
_MOST_REMEMBERED = 100


class KeyStore:
    """The keys of one state folder, see ``Keys``. Several processes may have it open."""

    def __init__(self, folder: Path, *, is_served: bool = False) -> None:
        """Open the file, or make it; raises UnusableError, with what to do.

        Each method does while the file cannot be used. ``is_served``: then it may be so already.
        """
        self._lock = threading.Lock()
        self._rates = Rates(folder / "rates")
        self._path = folder / FILE
        self._file = Reopened(self._path, self._open)
        self._operators: dict[bytes, Key] = {}  # seen by this process, by their tokens' digests
        if not is_served:
            with self._using():
                pass

    def _open(self) -> sqlite3.Connection:
        database = open_database(
            self._path,
            _SCHEMA,
            version=_VERSION,
            synchronous="FULL",
            busy_seconds=_BUSY_SECONDS,
        )
        database.row_factory = sqlite3.Row
        return database

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection."""
        with self._lock, self._file.using() as database:
            yield database

    def problem(self) -> str:
        try:
            is_empty = not self.has_keys()
        except OSError as error:
            return f"nobody is let in: {error}"
        if is_empty:
            return f"{self._path} has no key: make one with `toolrunner keys create NAME`"
        return ""

    def create(
        self,
        name: str,
        *,
        plugins: Sequence[str] | None = None,
        per_minute: int | None = None,
        role: Role = Role.CALLER,
        also: bool = False,
    ) -> tuple[Key, str]:
        key, token = new_key(name, plugins=plugins, per_minute=per_minute, role=role)
        values = (
            key.id,
            name,
            digest_of(token),
            None if key.plugins is None else json.dumps(key.plugins),
            per_minute,
            key.created_at.timestamp(),
            per_minute or 0,
            key.created_at.timestamp(),
            role,
        )
        with self._using() as file, transaction(file) as database:
            if not _has_roles(database):  # of before there were any: who only reads adds none
                database.execute(_ADD_ROLES)
            if living := _living_of(database, name):
                if not also:
                    refuse_taken(name, living)
                database.execute(_DROP_ONE_A_NAME)
            database.execute(
                "INSERT INTO keys (id, name, digest, plugins, per_minute, created, tokens,"
                " filled, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return key, token

    def kept(self) -> builtins.list[tuple[Key, bytes]]:
        """Return all keys, each with what is stored of its token: for another place of keys."""
        with self._using() as database:
            return [(_key(row), row["digest"]) for row in database.execute(_ALL)]

    def list(self) -> builtins.list[Key]:
        with self._using() as database:
            return [_key(row) for row in database.execute(_ALL)]

    def has_keys(self) -> bool:
        return any(key.revoked_at is None for key in self.list())

    def revoke(self, id_or_name: str) -> Key | None:
        with self._using() as file, transaction(file) as database:
            refuse_ambiguous(id_or_name, _living_of(database, id_or_name))
            row = database.execute(
                "UPDATE keys SET revoked = ? WHERE (id = ?2 OR name = ?2) AND revoked IS NULL"
                " RETURNING *",
                (time.time(), id_or_name),
            ).fetchone()
        if row is None:
            return None
        self._rates.forget(row["id"])
        return _key(row)

    def verify(self, token: str) -> Key | None:
        key = self.identify(token)
        return None if key is None or key.revoked_at is not None else key

    def identify(self, token: str) -> Key | None:
        with self._using() as database:
            row = _by_id(database, id_in(token))
        stored = NOBODY if row is None else row["digest"]
        digest = digest_of(token)
        is_same = hmac.compare_digest(digest, stored)
        if row is None or not is_same or row["revoked"] is not None:
            self._operators.pop(digest, None)
            return None if row is None or not is_same else _key(row)
        key = _key(row)
        if key.role is Role.OPERATOR and len(self._operators) < _MOST_REMEMBERED:
            self._operators[digest] = key
        return key

    def of_id(self, key_id: str) -> Key | None:
        with self._using() as database:
            row = _by_id(database, key_id)
        return None if row is None or row["revoked"] is not None else _key(row)

    def remembered(self, token: str) -> Key | None:
        return self._operators.get(digest_of(token))

    def living(self, key_ids: Iterable[str]) -> set[str]:
        asked = json.dumps(list(key_ids))
        with self._using() as database:
            return {row["id"] for row in database.execute(_LIVING, (asked,))}

    def take(self, key: Key) -> float:
        return 0.0 if key.per_minute is None else self._rates.take(key.id, key.per_minute)

    def close(self) -> None:
        with self._lock:
            self._file.close()


_LIVING = "SELECT id FROM keys WHERE revoked IS NULL AND id IN (SELECT value FROM json_each(?))"
_ALL = "SELECT * FROM keys ORDER BY created, id"
_LIVING_OF = "SELECT * FROM keys WHERE name = ? AND revoked IS NULL ORDER BY created, id"


def _living_of(database: sqlite3.Connection, name: str) -> list[Key]:
    """Return the valid keys of a name, the oldest first."""
    return [_key(row) for row in database.execute(_LIVING_OF, (name,))]


def _has_roles(database: sqlite3.Connection) -> bool:
    return any(row["name"] == "role" for row in database.execute("PRAGMA table_info(keys)"))


def _by_id(database: sqlite3.Connection, key_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None
    row = database.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
    return row


def _key(row: sqlite3.Row) -> Key:
    plugins = row["plugins"]
    return Key(
        id=row["id"],
        name=row["name"],
        plugins=None if plugins is None else tuple(json.loads(plugins)),
        per_minute=row["per_minute"],
        created_at=datetime.fromtimestamp(row["created"], UTC),
        revoked_at=None if row["revoked"] is None else datetime.fromtimestamp(row["revoked"], UTC),
        role=Role(row["role"]) if "role" in row.keys() else Role.CALLER,  # noqa: SIM118 - a row's are its columns
    )
