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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from toolrunner.api.rates import Rates
from toolrunner.runner.state.database import open_database, transaction
from toolrunner.runner.state.reopened import Reopened, unusable

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
_TOKEN = re.compile(r"tr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
# Never what could be an id.
_NAME = re.compile(r"(?![0-9a-f]{8}$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE = "keys.sqlite3"
# Of keys that may look while nobody can say whether they were revoked.
_MOST_REMEMBERED = 100
_NOBODY = bytes(hashlib.sha256().digest_size)
MOST_PER_MINUTE = 1_000_000


class KeyRefusedError(Exception):
    """A key that cannot be made; the message says why, and what to do."""


class Role(StrEnum):
    """What a key is for: a caller's has its plugins and its own jobs, an operator's everything."""

    CALLER = "caller"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``plugins`` is ``None`` for all, ``per_minute`` for as often as wanted."""

    id: str
    name: str
    plugins: tuple[str, ...] | None
    per_minute: int | None
    created_at: datetime
    revoked_at: datetime | None
    role: Role = Role.CALLER


class KeyStore:
    """The keys of one state folder. Thread-safe; several processes may have it open."""

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
        with self._lock:
            try:
                yield self._file.get()
            except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
                raise  # of what was asked for, or a bug of ours: no fault of the file
            except (sqlite3.Error, OSError) as error:
                self._file.failed(error)
                raise unusable(self._path, error) from error

    def problem(self) -> str:
        """Return why nobody is let in, and what to do about it; "" while keys can be read."""
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
        """Make a key; return it and its token, which nobody can read again.

        ``also``: beside a valid one of the same name, so that who uses that can change over.
        Raises KeyRefusedError for a name that is taken or none, a rate that is none, and an
        operator's key that should be for some plugins only.
        """
        if not _NAME.fullmatch(name):
            message = f"{name[:100]!r} cannot be a key's name: take letters, digits, . _ and -"
            raise KeyRefusedError(message)
        if per_minute is not None and not 1 <= per_minute <= MOST_PER_MINUTE:
            message = f"a key allows 1 to {MOST_PER_MINUTE:,} requests a minute"
            raise KeyRefusedError(message)
        if role is Role.OPERATOR and plugins is not None:
            message = "an operator's key is for all plugins: leave the plugins out, or the role"
            raise KeyRefusedError(message)
        key_id = secrets.token_hex(4)
        token = f"tr_{key_id}_{secrets.token_urlsafe(32)}"
        named = None if plugins is None else json.dumps(sorted(set(plugins)))
        now = time.time()
        values = (key_id, name, _digest(token), named, per_minute, now, per_minute or 0, now, role)
        with self._using() as file, transaction(file) as database:
            if not _has_roles(database):  # of before there were any: who only reads adds none
                database.execute(_ADD_ROLES)
            if _living_of(database, name):
                if not also:
                    raise KeyRefusedError(_taken(name))
                database.execute(_DROP_ONE_A_NAME)
            database.execute(
                "INSERT INTO keys (id, name, digest, plugins, per_minute, created, tokens,"
                " filled, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        key = Key(
            key_id,
            name,
            None if plugins is None else tuple(sorted(set(plugins))),
            per_minute,
            datetime.fromtimestamp(now, UTC),
            None,
            role,
        )
        return key, token

    def list(self) -> list[Key]:
        """Return all keys, the oldest first, revoked ones included."""
        with self._using() as database:
            return [_key(row) for row in database.execute(_ALL)]

    def has_keys(self) -> bool:
        """Tell whether there is a key that has not been revoked."""
        return any(key.revoked_at is None for key in self.list())

    def revoke(self, id_or_name: str) -> Key | None:
        """Let a key be of no more use, from the next request on; ``None`` when there is none.

        Raises KeyRefusedError for a name that several valid keys have.
        """
        with self._using() as file, transaction(file) as database:
            named = _living_of(database, id_or_name)
            if len(named) > 1:
                raise KeyRefusedError(_ambiguous(id_or_name, named))
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
        """Return the key that a token belongs to; ``None`` when it is unknown or revoked."""
        key = self.identify(token)
        return None if key is None or key.revoked_at is not None else key

    def identify(self, token: str) -> Key | None:
        """Return the key that a token belongs to, also one that was revoked.

        Takes the same time for a wrong secret of a known key and for an unknown one.
        """
        match = _TOKEN.fullmatch(token)
        with self._using() as database:
            row = _by_id(database, match.group(1) if match else "")
        stored = _NOBODY if row is None else row["digest"]
        digest = _digest(token)
        is_same = hmac.compare_digest(digest, stored)
        if row is None or not is_same or row["revoked"] is not None:
            self._operators.pop(digest, None)
            return None if row is None or not is_same else _key(row)
        key = _key(row)
        if key.role is Role.OPERATOR and len(self._operators) < _MOST_REMEMBERED:
            self._operators[digest] = key
        return key

    def remembered(self, token: str) -> Key | None:
        """Return the operator's key that a token belonged to when keys could last be read.

        For looking at figures while they cannot be, and for nothing else: it may be revoked.
        """
        return self._operators.get(_digest(token))

    def living(self, key_ids: Iterable[str]) -> set[str]:
        """Return which of some keys, by their ids, have not been revoked."""
        asked = json.dumps(list(key_ids))
        with self._using() as database:
            return {row["id"] for row in database.execute(_LIVING, (asked,))}

    def take(self, key: Key) -> float:
        """Count one request; return 0, or the seconds to wait when the key is over its rate."""
        return 0.0 if key.per_minute is None else self._rates.take(key.id, key.per_minute)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()


_LIVING = "SELECT id FROM keys WHERE revoked IS NULL AND id IN (SELECT value FROM json_each(?))"
_ALL = "SELECT * FROM keys ORDER BY created, id"
_LIVING_OF = "SELECT * FROM keys WHERE name = ? AND revoked IS NULL ORDER BY created, id"


def _living_of(database: sqlite3.Connection, name: str) -> list[Key]:
    """Return the valid keys of a name, the oldest first."""
    return [_key(row) for row in database.execute(_LIVING_OF, (name,))]


def _taken(name: str) -> str:
    return (
        f"there is a key named {name!r} already: take another name, or revoke it first; with --also"
        " the new key is valid beside it, until you revoke the old one by its id"
    )


def _ambiguous(name: str, keys: Sequence[Key]) -> str:
    each = ", ".join(f"{key.id} of {key.created_at:%Y-%m-%d %H:%M} UTC" for key in keys)
    return f"{len(keys)} valid keys are named {name!r}; revoke one by its id: {each}"


def _has_roles(database: sqlite3.Connection) -> bool:
    return any(row["name"] == "role" for row in database.execute("PRAGMA table_info(keys)"))


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
        role=Role(row["role"]) if "role" in row.keys() else Role.CALLER,  # noqa: SIM118 - a row's are its columns
    )
