"""The keys of a cluster: a table of hashes, known by heart in each process.

A request costs no query. What another process has made or revoked is read within a second; a key
that is not known here is looked for at once. What a token is, and who may make which key, is not
known here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.rows import NOW
from toolrunner.runner.jobs.postgres.together import Together, Versions, changed
from toolrunner.runner.jobs.store import StoreError

_NAME = "keys"
# Who sends tokens that are none has PostgreSQL asked no more often, by each process.
_ASKING_SECONDS = 0.1
_COLUMNS = "id, name, digest, plugins, per_minute, role, created, revoked"
_ALL = f"SELECT {_COLUMNS} FROM keys ORDER BY created, id"  # noqa: S608 - ours alone
_ADD = """
INSERT INTO keys (id, name, digest, plugins, per_minute, role, created, revoked) VALUES
  (%(id)s, %(name)s, %(digest)s, %(plugins)s, %(per_minute)s, %(role)s, %(created)s, %(revoked)s)
"""
# One that was revoked, here or there, stays revoked.
_TAKE_ALONG = (
    f"{_ADD} ON CONFLICT (id) DO UPDATE SET revoked = coalesce(keys.revoked, excluded.revoked)"
    " WHERE keys.digest = excluded.digest RETURNING (xmax = 0) AS is_new"
)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is kept. Times are seconds since 1970."""

    id: str
    name: str
    digest: bytes
    plugins: tuple[str, ...] | None
    per_minute: int | None
    role: str
    created: float
    revoked: float | None


class KeyRows:
    """All keys of a cluster. Thread-safe."""

    def __init__(self, together: Together) -> None:
        """Nothing is read before it is needed."""
        self._together = together
        self._looking = threading.Lock()
        self._looked = float("-inf")
        # Replaced as one, and never changed.
        self._known: tuple[int, Mapping[str, StoredKey]] | None = None
        self._unread: StoreError | None = None
        together.add(
            self,
            "keys count as they were last read: what is made or revoked now is not known here",
            "keys are read again",
        )

    def is_due(self, versions: Versions) -> bool:
        """Whether keys were made or revoked."""
        return self._known is None or versions.get(_NAME) != self._known[0]

    def step(self, connection: Connection, versions: Versions) -> None:
        """Read all keys anew."""
        try:
            rows = _read(connection)
        except Exception as error:
            self._unread = StoreError(f"the keys cannot be read: {type(error).__name__}")
            raise
        self._unread = None
        # What is newer than the number is read again.
        self._known = (versions.get(_NAME, 0), {row.id: row for row in rows})

    def known(self) -> Mapping[str, StoredKey]:
        """Return all keys by their ids, as of the last second, or as they were when last read.

        Raises StoreError if none could ever be read.
        """
        if self._known is None:
            self._together.look()
        if self._known is None:
            message = "the keys could not be read; the log says why"
            raise StoreError(message)
        return self._known[1]

    def found(self, key_id: str) -> StoredKey | None:
        """Return a key; one that is not known is asked for, unless that was done just now.

        Raises StoreError where nobody can say whether there is one.
        """
        key = self.known().get(key_id)
        if key is not None:
            return key
        if time.monotonic() - self._looked > _ASKING_SECONDS:
            self._ask()
            key = self.known().get(key_id)
        if key is None and (away := self._together.away) is not None:
            raise StoreError(str(away))
        return key

    def _ask(self) -> None:
        """Look now, unless another thread does, or nobody would answer."""
        if self._together.away is not None or not self._looking.acquire(blocking=False):
            return
        try:
            with suppress(StoreError):
                self._together.look()
            self._looked = time.monotonic()
        finally:
            self._looking.release()

    @property
    def away(self) -> StoreError | None:
        """Why keys are not as of the last second; ``None`` while they are."""
        return self._together.away or self._unread

    def all(self) -> list[StoredKey]:
        """Return all keys as they are now, the oldest first; raises StoreError."""
        with self._together.reading() as connection:
            return _read(connection)

    def add(self, key: StoredKey, check: Callable[[Sequence[StoredKey]], None]) -> None:
        """Keep a new key, if ``check`` of the valid ones of its name raises nothing."""
        with self._together.writing() as connection:
            changed(connection, _NAME)
            check(_living(connection, key.name))
            connection.execute(_ADD, asdict(key) | {"plugins": _named(key)})

    def take_along(self, keys: Sequence[StoredKey]) -> int:
        """Keep those that were another place's; return how many were not known yet."""
        with self._together.writing() as connection:
            changed(connection, _NAME)
            told = [
                connection.execute(_TAKE_ALONG, asdict(key) | {"plugins": _named(key)}).fetchone()
                for key in keys
            ]
        return sum(row is not None and row["is_new"] for row in told)

    def revoke(
        self, id_or_name: str, check: Callable[[Sequence[StoredKey]], None]
    ) -> StoredKey | None:
        """Let a key be of no more use; ``None`` when there is none.

        ``check`` may raise over the valid ones of that name.
        """
        with self._together.writing() as connection:
            changed(connection, _NAME)
            check(_living(connection, id_or_name))
            row = connection.execute(
                f"UPDATE keys SET revoked = {NOW} WHERE (id = %(key)s OR name = %(key)s)"  # noqa: S608 - ours
                " AND revoked IS NULL RETURNING *",
                {"key": id_or_name},
            ).fetchone()
        return None if row is None else _key(row)


def _living(connection: Connection, name: str) -> list[StoredKey]:
    """Return the valid keys of a name, the oldest first."""
    return [key for key in _read(connection) if key.name == name and key.revoked is None]


def _read(connection: Connection) -> list[StoredKey]:
    return [_key(row) for row in connection.execute(_ALL)]


def _named(key: StoredKey) -> list[str] | None:
    return None if key.plugins is None else list(key.plugins)


def _key(row: Mapping[str, object]) -> StoredKey:
    plugins = row["plugins"]
    assert plugins is None or isinstance(plugins, list)
    kept = {**row, "plugins": None if plugins is None else tuple(plugins)}
    return StoredKey(**kept)  # type: ignore[arg-type]  # the columns are its fields
