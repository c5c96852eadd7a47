"""How many calls run at once, and who waits: first come, first served, and never for long.

A call needs a place among all calls and one among those of its plugin. Whoever leaves hands the
place straight to the first in the queue who can use it, so that nobody overtakes and nobody is
woken in vain; a waiting call of a plugin that has all its places holds up no other plugin.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from runner.errors import ErrorType, GovernedError
from sandbox.interrupt import Interrupt


class _Ticket:
    """One waiting call. ``has_place`` is set under the lock, before it is woken."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.has_place = False
        self.woken = threading.Event()


class Admission:
    """Bounded numbers of places and a bounded queue before them. Thread-safe."""

    def __init__(self, places: int, parallel: int, max_waiting: int, queue_seconds: float) -> None:
        """``places`` for all calls, ``parallel`` of them at most for those of one plugin."""
        self._free = places
        self._parallel = parallel
        self._max_waiting = max_waiting
        self._queue_seconds = queue_seconds
        self._lock = threading.Lock()
        self._running: collections.Counter[str] = collections.Counter()
        self._waiting: collections.deque[_Ticket] = collections.deque()

    @contextlib.contextmanager
    def place(self, plugin: str, interrupt: Interrupt) -> Iterator[None]:
        """Hold one place; raise ``GovernedError`` when there is none to be had or wanted."""
        self._enter(plugin, interrupt)
        try:
            yield
        finally:
            with self._lock:
                self._leave(plugin)

    def _enter(self, plugin: str, interrupt: Interrupt) -> None:
        ticket = _Ticket(plugin)
        with self._lock:
            if self._has_room(plugin):
                # Those who wait cannot use this place, or it would be theirs already.
                self._take(plugin)
                return
            if len(self._waiting) >= self._max_waiting:
                raise _overloaded(f"{self._max_waiting} calls are waiting already")
            self._waiting.append(ticket)
        try:
            with interrupt.waking(ticket.woken.set):
                ticket.woken.wait(self._queue_seconds)
        except BaseException:
            self._withdraw(ticket)
            raise
        if interrupt.cancelled:
            self._withdraw(ticket)
            raise GovernedError(ErrorType.CANCELLED, "cancelled before it began")
        if not self._keeps_place(ticket):
            raise _overloaded(f"no place was free for {self._queue_seconds:g} s")

    def _has_room(self, plugin: str) -> bool:
        return self._free > 0 and self._running[plugin] < self._parallel

    def _take(self, plugin: str) -> None:
        self._free -= 1
        self._running[plugin] += 1

    def _leave(self, plugin: str) -> None:
        """Give a place back, and on to the first who can use it."""
        self._free += 1
        self._running[plugin] -= 1
        if not self._running[plugin]:
            del self._running[plugin]
        first = next((t for t in self._waiting if self._has_room(t.plugin)), None)
        if first is not None:
            self._waiting.remove(first)
            self._take(first.plugin)
            first.has_place = True
            first.woken.set()

    def _keeps_place(self, ticket: _Ticket) -> bool:
        """Tell, once it waits no more, whether a call has got a place."""
        with self._lock:
            if not ticket.has_place:
                self._waiting.remove(ticket)
            return ticket.has_place

    def _withdraw(self, ticket: _Ticket) -> None:
        """Wait no more, and give back a place that has just been handed over."""
        with self._lock:
            if ticket.has_place:
                self._leave(ticket.plugin)
            else:
                self._waiting.remove(ticket)


def _overloaded(why: str) -> GovernedError:
    return GovernedError(
        ErrorType.OVERLOADED,
        f"{why}; try again later, or raise max_concurrent, max_parallel or max_waiting",
        {"retry_after_seconds": 1},
    )
