"""How many streams of events are open in one worker, and how many of them are one caller's."""

from __future__ import annotations

import collections
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from toolrunner.api.http.errors import HttpError, RequestError, refusal
from toolrunner.api.http.events import UNBUFFERED

RETRY_SECONDS = 2
_MOST = 256


class OpenStreams:
    """Counts them, and refuses more than there may be. For an event loop: it is not locked."""

    def __init__(self, most_of_one: int, words: str) -> None:
        """``words``: what is said to who has too many."""
        self._most_of_one = most_of_one
        self._words = words
        self._of: collections.Counter[str] = collections.Counter()

    @contextmanager
    def counted(self, of: str) -> Iterator[None]:
        """Count a stream of somebody's while it is open; raises RequestError for too many."""
        if self._of[of] >= self._most_of_one or self._of.total() >= _MOST:
            details = {"retry_after_seconds": RETRY_SECONDS}
            raise RequestError(HttpError.RATE_LIMITED, self._words, details=details)
        self._of[of] += 1
        try:
            yield
        finally:
            self._of[of] -= 1
            if self._of[of] <= 0:
                del self._of[of]


class Stream(StreamingResponse):
    """Events, counted from before the first byte of the answer until its last."""

    def __init__(
        self, events: AsyncIterator[bytes], counted: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__(events, headers=UNBUFFERED, media_type="text/event-stream")
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, or the refusal of one too many."""
        try:
            with self._counted():
                await super().__call__(scope, receive, send)
        except RequestError as too_many:
            await refusal(too_many)(scope, receive, send)
