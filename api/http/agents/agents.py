"""What speaks to agents in one worker: made when the first of them comes.

So who has none pays nothing for it. Knows nothing of the protocol, nor of its library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from toolrunner.api.http.callers import Caller


class Speaker(Protocol):
    """Serves requests of agents' hosts."""

    async def speak(
        self, caller: Caller, message: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one; ``message`` is its body, which has been read."""


class Agents:
    """Holds what speaks to them, once there is one. For an event loop."""

    def __init__(self) -> None:
        self._making: asyncio.Future[Speaker] | None = None

    async def speaker(self, make: Callable[[], Awaitable[Speaker]]) -> Speaker:
        """Return what speaks to them in this worker; ``make`` it, if there is none yet."""
        if self._making is None or _has_failed(self._making):
            self._making = asyncio.ensure_future(make())
        return await asyncio.shield(self._making)


def _has_failed(making: asyncio.Future[Speaker]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
