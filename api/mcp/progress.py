"""Hands a call's progress on from its thread to who asked for it: the newest, and not too often.

What a plugin says of its progress goes before a model's host: one line, without control characters
and paths, that only ever goes up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolrunner.api.shown import without_paths
from toolrunner.runner.errors import cut_end, one_line

# As often as a job's: ten times a second at most.
_PAUSE_SECONDS = 0.1
_LONGEST_BYTES = 1024

Tell = Callable[[float, float | None, str | None], Awaitable[None]]


class Progress:
    """Hears of a call's progress in its thread, and tells it in an event loop."""

    def __init__(self, tell: Tell) -> None:
        """``tell(fraction, 1.0, message)`` is awaited in this loop."""
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._newest: tuple[float, str] | None = None
        self._told = -1.0

    def heard(self, fraction: float, message: str) -> None:
        """Take note of where a call is, in whatever thread."""
        self._newest = fraction, message
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._news.set)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell it while the block lasts; at its end what is not told yet."""
        teller = asyncio.ensure_future(self._go_on())
        try:
            yield
        finally:
            teller.cancel()
            await asyncio.wait([teller])
        await self._tell_newest()

    async def _go_on(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._tell_newest()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _tell_newest(self) -> None:
        newest, self._newest = self._newest, None
        if newest is None or newest[0] <= self._told:
            return
        self._told = newest[0]
        message = without_paths(cut_end(one_line(newest[1]), _LONGEST_BYTES))
        await self._tell(newest[0], 1.0, message or None)
