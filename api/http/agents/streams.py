"""What a client of the older versions of the protocol hears without having asked: a GET's stream.

There is one thing to be told: that the list of tools has changed. It also has here what the calls
of a session are known by.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection

from toolrunner.api.http.callers import Caller
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.events import KEEP_ALIVE_SECONDS, LOOK_SECONDS
from toolrunner.api.http.open_streams import OpenStreams
from toolrunner.api.withdrawals import mark_of

# Each host with a key has one; so many may share a key, or without keys an address.
MOST_OF_A_CALLER = 32
_CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
_EVENT = f"event: message\ndata: {json.dumps(_CHANGED)}\n\n".encode()


def session_mark(caller: Caller, session: str) -> bytes:
    """Return the mark of all that a session has begun."""
    return mark_of("mcp", caller.key_id, session)


def call_mark(caller: Caller, session: str, request_id: str | int) -> bytes:
    """Return the mark of one call of a session. A number is the same as its digits."""
    return mark_of("mcp", caller.key_id, session, str(request_id))


def streams() -> OpenStreams:
    """Return what counts the streams of one worker: of who hears of changes, in any version."""
    words = "too many streams of changes are open to this caller, or at all: close some"
    return OpenStreams(MOST_OF_A_CALLER, words)


async def written(doors: Doors, caller: Caller, session: str) -> AsyncIterator[bytes]:
    """Yield a stream that ends with its client, its session, its key, or the server."""
    due, over = asyncio.Event(), asyncio.Event()

    def heard(plugins: Collection[str]) -> None:
        if any(map(caller.may_use, plugins)):
            due.set()

    marks = [session_mark(caller, session)] if session else []
    with (
        doors.changes.heard_by(heard),
        doors.withdrawals.during(marks, over.set),
        doors.guests.during(caller.key_id, over.set),
    ):
        spoken = time.monotonic()
        yield b": here\n\n"
        while not over.is_set() and not doors.closing():
            if due.is_set():
                due.clear()
                spoken = time.monotonic()
                yield _EVENT
            elif time.monotonic() - spoken > KEEP_ALIVE_SECONDS:
                spoken = time.monotonic()
                yield b": still here\n\n"
            await _first_of(due, over)


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set, for as long as there is nothing else to look at."""
    waiting = [asyncio.ensure_future(one.wait()) for one in events]
    try:
        await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
