"""What a key is, and how one is made and told from others, wherever keys are kept.

``keys`` keeps them in a state folder, ``cluster_keys`` in the database of several machines.
``key_choice`` opens the one that the settings ask for.

A token is shown once, when it is made. What is stored is its SHA-256: the secret is 256 random
bits, which nobody can try out, so a slow hash would only slow every request down.
"""

from __future__ import annotations

import builtins
import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

_TOKEN = re.compile(r"tr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
# Never what could be an id.
_NAME = re.compile(r"(?![0-9a-f]{8}$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NOBODY = bytes(hashlib.sha256().digest_size)
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


class Keys(Protocol):
    """The keys of a server. Thread-safe; a method raises OSError while they cannot be read."""

    def problem(self) -> str:
        """Return what is wrong with them, and what to do about it; "" while all is well."""

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

    def list(self) -> builtins.list[Key]:
        """Return all keys, the oldest first, revoked ones included."""

    def has_keys(self) -> bool:
        """Tell whether there is a key that has not been revoked."""

    def revoke(self, id_or_name: str) -> Key | None:
        """Let a key be of no more use; ``None`` when there is none.

        Raises KeyRefusedError for a name that several valid keys have.
        """

    def verify(self, token: str) -> Key | None:
        """Return the key that a token belongs to; ``None`` when it is unknown or revoked."""

    def identify(self, token: str) -> Key | None:
        """Return the key that a token belongs to, also one that was revoked.

        Takes the same time for a wrong secret of a known key and for an unknown one.
        """

    def of_id(self, key_id: str) -> Key | None:
        """Return the key of an id; ``None`` when there is none, or it was revoked."""

    def remembered(self, token: str) -> Key | None:
        """Return the operator's key that a token belonged to when keys could last be read.

        For looking at figures while they cannot be, and for nothing else: it may be revoked.
        """

    def living(self, key_ids: Iterable[str]) -> set[str]:
        """Return which of some keys, by their ids, have not been revoked."""

    def take(self, key: Key) -> float:
        """Count one request; return 0, or the seconds to wait when the key is over its rate."""

    def close(self) -> None:
        """Let go of what holds them."""


def new_key(
    name: str, *, plugins: Sequence[str] | None, per_minute: int | None, role: Role
) -> tuple[Key, str]:
    """Return a key that could be kept, and its token; raises KeyRefusedError."""
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
    named = None if plugins is None else tuple(sorted(set(plugins)))
    made = datetime.fromtimestamp(time.time(), UTC)
    return Key(key_id, name, named, per_minute, made, None, role), token


def id_in(token: str) -> str:
    """Return the id of the key that a token would be of; "" for what is no token."""
    match = _TOKEN.fullmatch(token)
    return match.group(1) if match else ""


def digest_of(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def refuse_taken(name: str, living: Sequence[object]) -> None:
    """Raise KeyRefusedError for the name of a key that is valid."""
    if living:
        message = (
            f"there is a key named {name!r} already: take another name, or revoke it first; with"
            " --also the new key is valid beside it, until you revoke the old one by its id"
        )
        raise KeyRefusedError(message)


def refuse_ambiguous(name: str, living: Sequence[Key]) -> None:
    """Raise KeyRefusedError for a name that several valid keys have."""
    if len(living) > 1:
        each = ", ".join(f"{key.id} of {key.created_at:%Y-%m-%d %H:%M} UTC" for key in living)
        message = f"{len(living)} valid keys are named {name!r}; revoke one by its id: {each}"
        raise KeyRefusedError(message)
