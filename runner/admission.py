"""How many calls run at once, and who waits: first come, first served, and never for long."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

from runner.errors import ErrorType, GovernedError
from sandbox.interrupt import Interrupt

_CANCEL_CHECK_SECONDS = 0.05


class Admission:
    """A bounded number of places and a bounded queue before them. Thread-safe."""

    def __init__(self, places: int, max_waiting: int, queue_seconds: float) -> None:
        self._free = places
        self._max_waiting = max_waiting
        self._queue_seconds = queue_seconds
        self._condition = threading.Condition()
        self._waiting: collections.deque[object] = collections.deque()

    @contextlib.contextmanager
    def place(self, interrupt: Interrupt) -> Iterator[None]:
        """Hold one place; raise ``GovernedError`` when there is none to be had or wanted."""
        self._enter(interrupt)
        try:
            yield
        finally:
            with self._condition:
                self._free += 1
                self._condition.notify_all()

    def _enter(self, interrupt: Interrupt) -> None:
        ticket = object()
        deadline = time.monotonic() + self._queue_seconds
        with self._condition:
            if self._free > 0 and not self._waiting:
                self._free -= 1
                return
            if len(self._waiting) >= self._max_waiting:
                raise self._overloaded(f"{self._max_waiting} calls are waiting already")
            self._waiting.append(ticket)
            try:
                while self._free == 0 or self._waiting[0] is not ticket:
                    if interrupt.cancelled:
                        raise GovernedError(ErrorType.CANCELLED, "cancelled before it began")
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise self._overloaded(f"no place was free for {self._queue_seconds:g} s")
                    self._condition.wait(min(left, _CANCEL_CHECK_SECONDS))
                self._free -= 1
            finally:
                self._waiting.remove(ticket)
                self._condition.notify_all()

    def _overloaded(self, why: str) -> GovernedError:
        return GovernedError(
            ErrorType.OVERLOADED,
            f"{why}; try again later, or raise max_concurrent or max_waiting",
            {"retry_after_seconds": 1},
        )
