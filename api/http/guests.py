"""Requests of keys that run now: each ends soon after its key has been revoked.

For an event loop. Nothing looks after keys while no request of theirs runs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.concurrency import run_in_threadpool

from toolrunner.api.key import Keys
from toolrunner.sandbox.shortage import is_thread_refused, told

_LOG = logging.getLogger("toolrunner.http")
_LOOK_SECONDS = 0.5


class Guests:
    """What ends each request that runs, by the id of its key."""

    def __init__(self, keys: Keys | None) -> None:
        self._store = keys
        self._ends: dict[str, dict[object, Callable[[], None]]] = {}
        self._watch: asyncio.Future[None] | None = None

    @property
    def keys(self) -> set[str]:
        """The ids of the keys that have requests now."""
        return set(self._ends)

    @contextmanager
    def during(self, key_id: str, end: Callable[[], None]) -> Iterator[None]:
        """Call ``end``, once or more often, if the key is revoked meanwhile; "" is no key."""
        if not key_id or self._store is None:
            yield
            return
        mark = object()
        self._ends.setdefault(key_id, {})[mark] = end
        if self._watch is None or self._watch.done():
            self._watch = asyncio.ensure_future(self._look_after(self._store))
        try:
            yield
        finally:
            del self._ends[key_id][mark]
            if not self._ends[key_id]:
                del self._ends[key_id]

    @asynccontextmanager
    async def while_allowed(self, key_id: str) -> AsyncIterator[None]:
        """Leave the block, wherever it waits, if the key is revoked meanwhile."""
        bound = asyncio.timeout(None)

        def end() -> None:
            if not bound.expired():
                bound.reschedule(asyncio.get_running_loop().time())

        try:
            async with bound:
                with self.during(key_id, end):
                    yield
        except TimeoutError:
            if not bound.expired():
                raise

    async def _look_after(self, keys: Keys) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._ends:
                return
            asked = list(self._ends)
            try:
                living = await run_in_threadpool(keys.living, asked)
            except (sqlite3.Error, OSError) as error:
                _LOG.error("it cannot be seen which keys were revoked: %s", error)
                continue
            except RuntimeError as error:
                if not is_thread_refused(error):
                    raise
                _LOG.error("it cannot be seen which keys were revoked: %s", told(error))
                continue
            for key_id in set(asked) - living:
                ends = list(self._ends.get(key_id, {}).values())
                _LOG.info("key %s was revoked: %d of its requests end", key_id, len(ends))
                for end in ends:
                    end()
