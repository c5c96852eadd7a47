"""How many calls run at once, and whose turn it is: a fair queue, and never a long wait.

A call needs a place among all calls and one among those of its plugin. Calls that one process
serves together, as a batch, share a place. Whoever leaves hands the place straight to one who can
use it, so that nobody is woken in vain: to the caller, then the plugin, that holds the fewest
places, and among equals to who came first.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox import forks
from toolrunner.sandbox.interrupt import Interrupt


class _Ticket:
    """One call that wants a place. Changed under the lock alone."""

    def __init__(self, plugin: str, caller: str, together: int) -> None:
        self.plugin = plugin
        self.together = together
        self.caller = caller
        self.woken = threading.Event()


class Admission:
    """Bounded numbers of places and a bounded queue before them. Thread-safe."""

    def __init__(self, places: int, parallel: int, max_waiting: int, queue_seconds: float) -> None:
        """``places`` for all calls, ``parallel`` of them at most for those of one plugin."""
        self._places = places
        self._parallel = parallel
        self._max_waiting = max_waiting
        self._queue_seconds = queue_seconds
        self._begin()
        forks.in_each_child(self, Admission._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        # Who holds a place is all that is known of places: one step takes it and one gives it
        # back, so that an exception from a signal handler finds no half of either.
        self._holding: dict[_Ticket, None] = {}
        self._waiting: collections.deque[_Ticket] = collections.deque()

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._waiting)

    @contextlib.contextmanager
    def place(
        self, plugin: str, interrupt: Interrupt, caller: str = "", *, together: int = 1
    ) -> Iterator[None]:
        """Hold one place; raise ``GovernedError`` when there is none to be had or wanted.

        ``together``: how many calls of the plugin share one.
        """
        ticket = _Ticket(plugin, caller, together)
        try:
            self._enter(ticket, interrupt)
            yield
        finally:
            self._leave(ticket)

    def _enter(self, ticket: _Ticket, interrupt: Interrupt) -> None:
        with self._lock:
            if self._has_room(ticket):
                # Those who wait cannot use this place, or it would be theirs already.
                self._holding[ticket] = None
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

    def _has_room(self, wanting: _Ticket) -> bool:
        held = collections.Counter((one.plugin, one.together) for one in self._holding)
        own = held[wanting.plugin, wanting.together]
        if own % wanting.together:
            return True  # in a place that is held already
        taken = sum(-(-count // together) for (_, together), count in held.items())
        return taken < self._places and own // wanting.together < self._parallel

    def _leave(self, ticket: _Ticket) -> None:
        """Give up a place, or the wait for one, and hand the place to whose turn it is."""
        with self._lock:
            if ticket not in self._holding:
                with contextlib.suppress(ValueError):  # turned away before it could wait
                    self._waiting.remove(ticket)
                return
            del self._holding[ticket]
            while (chosen := self._next()) is not None:
                self._waiting.remove(chosen)
                self._holding[chosen] = None
                chosen.woken.set()

    def _next(self) -> _Ticket | None:
        if not self._waiting:
            return None
        plugins = collections.Counter(ticket.plugin for ticket in self._holding)
        callers = collections.Counter(ticket.caller for ticket in self._holding)
        able = [ticket for ticket in self._waiting if self._has_room(ticket)]
        # Of equals the first, which has waited longest.
        return min(able, key=lambda t: (callers[t.caller], plugins[t.plugin]), default=None)


def _overloaded(why: str) -> GovernedError:
    return GovernedError(
        ErrorType.OVERLOADED,
        f"{why}; try again later, or raise max_concurrent, max_parallel or max_waiting",
        {"retry_after_seconds": 1},
    )
