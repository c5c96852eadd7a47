"""What changes on a page while somebody looks: one look a moment for all who see the same.

Nothing is looked at while nobody looks. A browser opens one stream a page, and closes it while the
page cannot be seen.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors
from toolrunner.api.http.events import KEEP_ALIVE_SECONDS, LOOK_SECONDS
from toolrunner.api.http.open_streams import RETRY_SECONDS, OpenStreams, Stream
from toolrunner.api.page.visitors import Visitor, still_there
from toolrunner.sandbox.shortage import is_shortage

_LOG = logging.getLogger("toolrunner.http")
# How soon a stream ends with its visitor's session.
_SESSION_SECONDS = 2.0
# A browser has no more connections to one server than six.
MOST_OF_A_VISITOR = 12

# By the name of the event: a piece of the page, or data for a script of ours.
Pieces = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: ``look`` is called in a thread, every so many ``seconds``.

    Subjects with one ``key`` are the same, whoever looks: it says whose eyes ``look`` has.
    """

    key: Hashable
    look: Callable[[], Pieces]
    seconds: float = 2.0


class _Watched:
    """One subject that somebody looks at."""

    def __init__(self) -> None:
        self.viewers: set[asyncio.Event] = set()
        self.pieces: Pieces = {}
        self.task: asyncio.Task[None] | None = None

    def tell(self, pieces: Pieces) -> None:
        self.pieces = pieces
        for viewer in self.viewers:
            viewer.set()


class Live:
    """The streams of one worker. For an event loop: nothing here is locked."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._watched: dict[Hashable, _Watched] = {}
        words = "too many pages are open at once: close some"
        self._streams = OpenStreams(MOST_OF_A_VISITOR, words)

    @property
    def watched(self) -> int:
        """How many subjects somebody looks at."""
        return len(self._watched)

    def open(self, visitor: Visitor, client: str, subject: Subject) -> Response:
        """Return a stream of events, which is refused when it begins and there are too many."""
        of = visitor.caller.key_id or client
        return Stream(self._events(visitor, subject), partial(self._streams.counted, of))

    async def _events(self, visitor: Visitor, subject: Subject) -> AsyncIterator[bytes]:
        sent: dict[str, str] = {}
        spoken = asked = time.monotonic()
        with self._looking(subject) as (watched, changed):
            yield f"retry: {RETRY_SECONDS * 1000}\n\n".encode()
            while True:
                changed.clear()
                for name, text in watched.pieces.items():
                    if sent.get(name) != text:
                        sent[name] = text
                        spoken = time.monotonic()
                        yield event(name, text)
                now = time.monotonic()
                if self._doors.closing():
                    return
                if now - asked > _SESSION_SECONDS:
                    asked = now
                    if not await still_there(self._doors, visitor):
                        yield event("over", "")
                        return
                if now - spoken > KEEP_ALIVE_SECONDS:
                    spoken = now
                    yield b": still here\n\n"
                await _wait(changed)

    @contextmanager
    def _looking(self, subject: Subject) -> Iterator[tuple[_Watched, asyncio.Event]]:
        watched = self._watched.setdefault(subject.key, _Watched())
        viewer = asyncio.Event()
        watched.viewers.add(viewer)
        if watched.task is None:
            watched.task = asyncio.ensure_future(_watch(subject, watched))
        try:
            yield watched, viewer
        finally:
            watched.viewers.discard(viewer)
            if not watched.viewers:
                watched.task.cancel()
                self._watched.pop(subject.key, None)


async def _watch(subject: Subject, watched: _Watched) -> None:
    """Look until it is cancelled, which is when the last viewer has left."""
    while True:
        try:
            watched.tell(await run_in_threadpool(subject.look))
        except (OSError, sqlite3.Error) as error:  # its own log says what; the page stays as it is
            _LOG.debug("a page is not kept live now: %s", error)
        except Exception as error:  # noqa: BLE001 - logged; who looks keeps what was there
            if not is_shortage(error):
                _LOG.exception("a page is not kept live now: a bug")
        await asyncio.sleep(subject.seconds)


async def _wait(changed: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
    except TimeoutError:
        return


def event(name: str, text: str) -> bytes:
    """Return an event of a stream; its text may have several lines."""
    lines = "".join(f"data: {line}\n" for line in text.replace("\r", "").split("\n"))
    return f"event: {name}\n{lines}\n".encode()
