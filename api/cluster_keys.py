"""Keys in the database of several machines: each is valid at all servers, and so is its rate.

What a key is stands in ``key``; which there are, ``key_rows`` knows. While PostgreSQL is away the
keys are those that were read last, and a key that is none of them is let in by nobody.
"""

from __future__ import annotations

import builtins
import hmac
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from toolrunner.api.key import (
    NOBODY,
    Key,
    Role,
    digest_of,
    id_in,
    new_key,
    refuse_ambiguous,
    refuse_taken,
)
from toolrunner.api.rates import Rates
from toolrunner.runner.jobs.postgres.buckets import Buckets
from toolrunner.runner.jobs.postgres.key_rows import KeyRows, StoredKey
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.trouble import Trouble

_LOG = logging.getLogger("toolrunner.keys")


class ClusterKeys:
    """The keys of a cluster; see ``Keys`` for what each method does."""

    def __init__(self, together: Together, folder: Path) -> None:
        """``folder``: where this server counts requests while PostgreSQL is away."""
        self._rows = KeyRows(together)
        self._where = together.url
        self._buckets = Buckets(together)
        self._own_rates = Rates(folder / "rates")
        self._counting = Trouble(
            _LOG,
            StoreError,
            "the rates of keys are kept by each server alone",
            "the rates of keys are those of all servers together again",
        )

    def problem(self) -> str:
        try:
            known = self._rows.known()
        except OSError as error:
            return f"nobody is let in: {error}"
        if (away := self._rows.away) is not None:
            return f"keys that were made or revoked since {self._where} is away count not: {away}"
        if all(one.revoked is not None for one in known.values()):
            return (
                f"{self._where} has no key: make one with `toolrunner keys create NAME`, or take"
                " those of a state folder along with `toolrunner migrate --keys`"
            )
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

        def check(living: Sequence[StoredKey]) -> None:
            if not also:
                refuse_taken(name, living)

        self._rows.add(_stored(key, digest_of(token)), check)
        return key, token

    def take_along(self, kept: Sequence[tuple[Key, bytes]]) -> int:
        """Keep the keys of a state folder as well; return how many were not known yet."""
        return self._rows.take_along([_stored(key, digest) for key, digest in kept])

    def list(self) -> builtins.list[Key]:
        return [_key(one) for one in self._rows.all()]

    def has_keys(self) -> bool:
        return any(one.revoked is None for one in self._rows.all())

    def revoke(self, id_or_name: str) -> Key | None:
        def check(living: Sequence[StoredKey]) -> None:
            refuse_ambiguous(id_or_name, [_key(one) for one in living])

        row = self._rows.revoke(id_or_name, check)
        if row is None:
            return None
        with suppress(StoreError):  # it is of no more use all the same
            self._buckets.forget(row.id)
        return _key(row)

    def verify(self, token: str) -> Key | None:
        key = self.identify(token)
        return None if key is None or key.revoked_at is not None else key

    def identify(self, token: str) -> Key | None:
        key_id = id_in(token)
        row = self._rows.found(key_id) if key_id else None
        is_same = hmac.compare_digest(digest_of(token), NOBODY if row is None else row.digest)
        return None if row is None or not is_same else _key(row)

    def of_id(self, key_id: str) -> Key | None:
        row = self._rows.found(key_id)
        return None if row is None or row.revoked is not None else _key(row)

    def remembered(self, token: str) -> Key | None:  # noqa: ARG002 - as all keys have it
        """Return ``None``: keys that were ever known are so while PostgreSQL is away."""
        return None

    def living(self, key_ids: Iterable[str]) -> set[str]:
        known = self._rows.known()
        return {one for one in key_ids if one in known and known[one].revoked is None}

    def take(self, key: Key) -> float:
        if key.per_minute is None:
            return 0.0
        try:
            wait = self._buckets.take(key.id, key.per_minute)
        except StoreError as error:
            self._counting.failed(error)
            return self._own_rates.take(key.id, key.per_minute)
        self._counting.worked()
        return wait

    def close(self) -> None:
        """Do nothing: the connections are whose who has made them."""


def _stored(key: Key, digest: bytes) -> StoredKey:
    return StoredKey(
        key.id,
        key.name,
        digest,
        key.plugins,
        key.per_minute,
        str(key.role),
        key.created_at.timestamp(),
        None if key.revoked_at is None else key.revoked_at.timestamp(),
    )


def _key(row: StoredKey) -> Key:
    return Key(
        row.id,
        row.name,
        row.plugins,
        row.per_minute,
        datetime.fromtimestamp(row.created, UTC),
        None if row.revoked is None else datetime.fromtimestamp(row.revoked, UTC),
        Role(row.role),
    )
