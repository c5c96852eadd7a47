"""How many bytes one worker holds at once, for clients that send or take them slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from toolrunner.api.http.errors import RequestError
from toolrunner.runner.errors import ErrorType

# Bodies, and answers, of the largest size of a body that one worker holds at once.
MOST_HELD = 4
# What one caller may have of it: one part in so many.
SHARES = 2
_RETRY_SECONDS = 1


class Held:
    """Counts bytes, and refuses more than there may be. For an event loop: it is not locked."""

    def __init__(self, most: int) -> None:
        """``most`` bytes at once, and a share of it for each caller.

        One answer that is larger than a share is held when its caller has no other, and counts as
        a share: so there are no more of these than shares.
        """
        self._most = most
        self._share = most // SHARES
        self._bytes = 0
        self._of: dict[str, int] = {}

    @contextmanager
    def holding(self, caller: str, size: int) -> Iterator[None]:
        """Count bytes for as long as they are held; raises RequestError for too many."""
        counted = min(size, self._share)
        own = self._of.get(caller, 0)
        if own + counted > self._share:
            raise _too_many(
                "too many large answers to this caller have not been taken yet; take them"
            )
        if self._bytes + counted > self._most:
            raise _too_many("too many large answers are being sent; try again later")
        self._bytes += counted
        self._of[caller] = own + counted
        try:
            yield
        finally:
            self._bytes -= counted
            self._of[caller] -= counted
            if not self._of[caller]:
                del self._of[caller]


def _too_many(message: str) -> RequestError:
    return RequestError(
        ErrorType.OVERLOADED,
        message,
        headers={"Retry-After": str(_RETRY_SECONDS)},
        details={"retry_after_seconds": _RETRY_SECONDS},
    )
