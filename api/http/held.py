"""How many bytes one worker holds at once, for clients that send or take them slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.types import Scope

from toolrunner.api.http.errors import RequestError
from toolrunner.runner.errors import ErrorType

# Bodies, and answers, of the largest size of a body that one worker holds at once.
MOST_HELD = 4
# What one caller may have of it: one part in so many.
SHARES = 2
_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of more than a caller's share, and of more than there may be at all."""

    of_caller: str
    of_all: str


_ANSWERS = Words(
    "too many large answers to this caller have not been taken yet; take them",
    "too many large answers are being sent; try again later",
)


class Held:
    """Counts bytes, and refuses more than there may be. For an event loop: it is not locked."""

    def __init__(self, most: int, words: Words = _ANSWERS) -> None:
        """``most`` bytes at once, and a share of it for each caller."""
        self._most = most
        self._words = words
        self._share = most // SHARES
        self._bytes = 0
        self._of: dict[str, int] = {}

    def counted(self, size: int) -> int:
        """Return what bytes count as that are held together: no more than a share."""
        return min(size, self._share)

    @contextmanager
    def holding(self, caller: str, size: int) -> Iterator[None]:
        """Count bytes for as long as they are held; raises RequestError for too many.

        What is larger than a share is held when its caller has nothing else, and counts as a
        share: so there are no more of these than shares.
        """
        counted = self.counted(size)
        self.take(caller, counted)
        try:
            yield
        finally:
            self.give(caller, counted)

    def take(self, caller: str, size: int) -> None:
        """Count bytes that are held from now on; raises RequestError for too many."""
        own = self._of.get(caller, 0)
        if own + size > self._share:
            raise _too_many(self._words.of_caller)
        if self._bytes + size > self._most:
            raise _too_many(self._words.of_all)
        self._bytes += size
        self._of[caller] = own + size

    def give(self, caller: str, size: int) -> None:
        """Count as many no more."""
        self._bytes -= size
        self._of[caller] = self._of.get(caller, 0) - size
        if not self._of[caller]:
            del self._of[caller]


def caller_in(scope: Scope) -> str:
    """Return for whom bytes are counted: a key's name, or without keys an address."""
    client = scope.get("client")
    return str(scope["state"].get("caller") or (client[0] if client else ""))


def _too_many(message: str) -> RequestError:
    details = {"retry_after_seconds": _RETRY_SECONDS}
    return RequestError(ErrorType.OVERLOADED, message, details=details)
