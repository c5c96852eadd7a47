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
    """One call that wants a place. Changed under the lock alone."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.woken = threading.Event()


class Admission:
    """Bounded numbers of places and a bounded queue before them. Thread-safe."""

    def __init__(self, places: int, parallel: int, max_waiting: int, queue_seconds: float) -> None:
        """``places`` for all calls, ``parallel`` of them at most for those of one plugin."""
        self._places = places
        self._parallel = parallel
        self._max_waiting = max_waiting
        self._queue_seconds = queue_seconds
        self._lock = threading.Lock()
        # Who holds a place is all that is known of places: one step takes it and one gives it
        # back, so that an exception from a signal handler finds no half of either.
        self._holding: dict[_Ticket, str] = {}
        self._waiting: collections.deque[_Ticket] = collections.deque()

    @contextlib.contextmanager
    def place(self, plugin: str, interrupt: Interrupt) -> Iterator[None]:
        """Hold one place; raise ``GovernedError`` when there is none to be had or wanted."""
        ticket = _Ticket(plugin)
        try:
            self._enter(ticket, interrupt)
            yield
        finally:
            self._leave(ticket)

    def _enter(self, ticket: _Ticket, interrupt: Interrupt) -> None:
        with self._lock:
            if self._has_room(ticket.plugin):
                # Those who wait cannot use this place, or it would be theirs already.
                self._holding[ticket] = ticket.plugin
                return
            if len(self._waiting) >= self._max_waiting:
                raise _overloaded(f"{self._max_waiting} calls are waiting already")
            self._waiting.append(ticket)
        with interrupt.waking(ticket.woken.set):
            ticket.woken.wait(self._queue_seconds)
        if interrupt.cancelled:
            raise GovernedError(ErrorType.CANCELLED, "cancelled before it began")
        with self._lock:
            if ticket not in self._holding:
                raise _overloaded(f"no place was free for {self._queue_seconds:g} s")

    def _has_room(self, plugin: str) -> bool:
        held = self._holding.values()
        return len(held) < self._places and list(held).count(plugin) < self._parallel

    def _leave(self, ticket: _Ticket) -> None:
        """Give up a place, or the wait for one, and hand the place to the first who can use it."""
        with self._lock:
            if self._holding.pop(ticket, None) is None:
                with contextlib.suppress(ValueError):  # turned away before it could wait
                    self._waiting.remove(ticket)
                return
            held = collections.Counter(self._holding.values())
            first = next((t for t in self._waiting if held[t.plugin] < self._parallel), None)
            if first is not None:
                self._waiting.remove(first)
                self._holding[first] = first.plugin
                first.woken.set()


def _overloaded(why: str) -> GovernedError:
    return GovernedError(
        ErrorType.OVERLOADED,
        f"{why}; try again later, or raise max_concurrent, max_parallel or max_waiting",
        {"retry_after_seconds": 1},
    )
