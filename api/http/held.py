"""How many bytes one worker holds at once, for clients that send or take them slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from toolrunner.api.http.errors import RequestError
from toolrunner.runner.errors import ErrorType

# Bodies, and answers, of the largest size of a body that one worker holds at once.
MOST_HELD = 4
_RETRY_SECONDS = 1


class Held:
    """Counts bytes, and refuses more than there may be. For an event loop: it is not locked."""

    def __init__(self, most: int) -> None:
        """``most`` bytes at once; one answer that is larger is held when it is alone."""
        self._most = most
        self._bytes = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count bytes for as long as they are held; raises RequestError for too many."""
        if self._bytes and self._bytes + size > self._most:
            raise RequestError(
                ErrorType.OVERLOADED,
                "too many large answers are being sent; try again later",
                headers={"Retry-After": str(_RETRY_SECONDS)},
                details={"retry_after_seconds": _RETRY_SECONDS},
            )
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
