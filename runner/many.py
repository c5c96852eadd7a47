"""Many calls of one plugin, as their payloads come: for ``ToolRunner.map`` and ``amap``.

No more payloads are taken than calls may be ahead of whoever takes the answers, so an iterable of
any length will do.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from toolrunner.runner.call import Call

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Payload = Mapping[str, Any]


def run_many(
    run: Callable[[Payload, Call], A], payloads: Iterable[Payload], parallel: int
) -> Generator[tuple[int, A, Call], None, None]:
    """Yield index, answer and call as the calls end; ``run`` runs in threads of its own.

    Closing the iterator, or an error of ``payloads``, cancels the calls and waits for their ends.
    """
    running: dict[Future[A], tuple[int, Call]] = {}
    coming = enumerate(payloads)
    owner = os.getpid()
    threads = ThreadPoolExecutor(parallel, "toolrunner-map")
    try:
        while True:
            for index, payload in itertools.islice(coming, parallel - len(running)):
                call = Call()
                running[threads.submit(run, payload, call)] = (index, call)
            if not running:
                return
            ended, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            future = min(ended, key=lambda future: running[future][0])
            index, call = running.pop(future)
            yield index, future.result(), call
    finally:
        if os.getpid() == owner:  # and no fork of it, which has neither threads nor calls
            for _, call in running.values():
                call.cancel()
            threads.shutdown()


async def arun_many(
    run: Callable[[Payload, Call], Awaitable[A]], payloads: Iterable[Payload], parallel: int
) -> AsyncGenerator[tuple[int, A, Call], None]:
    """Yield the same on an event loop."""
    running: dict[asyncio.Future[A], tuple[int, Call]] = {}
    coming = enumerate(payloads)
    try:
        while True:
            for index, payload in itertools.islice(coming, parallel - len(running)):
                call = Call()
                running[asyncio.ensure_future(run(payload, call))] = (index, call)
            if not running:
                return
            ended, _ = await asyncio.wait(running, return_when="FIRST_COMPLETED")
            future = min(ended, key=lambda future: running[future][0])
            index, call = running.pop(future)
            yield index, future.result(), call
    finally:
        for future in running:
            future.cancel()
        for future in running:
            with contextlib.suppress(asyncio.CancelledError):
                await future


def flat(
    many: Generator[tuple[int, tuple[B, C], Call], None, None],
) -> Generator[tuple[int, B, C, Call], None, None]:
    """Yield each answer's parts side by side; end with whoever takes them."""
    with contextlib.closing(many):
        for index, answer, call in many:
            yield (index, *answer, call)
