"""What a session is: that somebody has signed in to the page with a key, in one browser.

``sessions`` keeps them in a state folder, ``cluster_sessions`` in the database of several machines.
A token is given to the browser once, as a cookie. What is stored is its SHA-256, as of keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Protocol

# Whatever is done meanwhile; and without anything being asked for.
MOST_SECONDS = 12 * 3600.0
IDLE_SECONDS = 3600.0
# How old what is stored of the last request may be.
NOTE_SECONDS = 60.0
# Of one key; the one that began first ends.
MOST_OF_A_KEY = 20
_TOKEN = re.compile(r"trs_[A-Za-z0-9_-]{43}")


class Sessions(Protocol):
    """The sessions of a server. Thread-safe; a method raises OSError while they cannot be used."""

    def begin(self, key_id: str) -> str:
        """Begin one of a key; return its token, which nobody can read again."""

    def found(self, token: str) -> str:
        """Return the id of the key that a session is of; "" for one that has ended or never was.

        It is asked for something now, and so is not idle. Whether the key is one, ``Keys`` know.
        """

    def end(self, token: str) -> None:
        """End a session, if it is one."""

    def close(self) -> None:
        """Let go of what holds them."""


def new_token() -> str:
    """Return the token of a new session."""
    return f"trs_{secrets.token_urlsafe(32)}"


def digest_of(token: str) -> bytes | None:
    """Return what is kept of a token; ``None`` for what is none."""
    return hashlib.sha256(token.encode()).digest() if _TOKEN.fullmatch(token) else None


def is_over(now: float, began: float, seen: float) -> bool:
    """Whether a session has ended by its age, or since nobody has asked for anything."""
    return not (0 <= now - began < MOST_SECONDS and now - seen < IDLE_SECONDS)


def confirmation_of(secret: bytes) -> str:
    """Return what forms of a session have to send along: only its own pages can know it."""
    return hmac.new(secret, b"toolrunner page form", hashlib.sha256).hexdigest()
