"""Runs calls for an event loop, each in a thread of its own, and takes them back when cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from toolrunner.sandbox import forks
from toolrunner.sandbox.shortage import submit

T = TypeVar("T")


class CallThreads:
    """Threads for ``arun``: enough of them that a call waits in the runner's queue and not here."""

    def __init__(self, most: int) -> None:
        """``most``: calls that may run and wait at once. More are refused without delay."""
        self._most = most
        self._closed = False
        self._begin()
        forks.in_each_child(self, CallThreads._begin)

    def _begin(self) -> None:
        self._threads = ThreadPoolExecutor(self._most + 1, thread_name_prefix="toolrunner-call")

    async def run(self, function: Callable[[], T], cancel: Callable[[], None]) -> T:
        """Return what ``function`` returns, in a thread.

        If the awaiting task is cancelled, so is the call, and the task ends once the call has.
        Once closed there are no threads, and ``function`` is expected to return at once.
        Raises NoThreadError, and ``function`` is not called, where no thread can be started.
        """
        try:
            future = asyncio.wrap_future(submit(self._threads, function))
        except RuntimeError:
            if not self._closed:
                raise
            return function()
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel()
            while not future.done():
                # Cancelled once more: the call is ending already.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Wait for the calls' ends, and end the threads."""
        self._closed = True
        self._threads.shutdown()
