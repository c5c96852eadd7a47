"""How many calls run at once, and whose turn it is: a fair queue, and never a long wait.

A call needs a place among all calls and one among those of its plugin. Calls that one process
serves together, as a batch, share a place. Whoever leaves hands the place straight to one who can
use it, so that nobody is woken in vain: to the caller, then the plugin, that holds the fewest
places, and among equals to who came first. One caller's calls leave seats for those of the next.

In a worker of a server the places are those of all workers, and a place that is left goes to the
worker whose call has waited longest. Which call of that worker has it is decided there, as above.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Collection, Iterator

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.fair_share import is_fair
from toolrunner.runner.shared_places import Key, Lack, PlacesShare
from toolrunner.sandbox import forks
from toolrunner.sandbox.interrupt import Interrupt

# How long a place is left to another worker whose call has waited longer, in case that it cannot
# use it: it may have been stopped.
_LEAVE_SECONDS = 0.05
# A worker that has died has given its places back and rung no bell.
_LOOK_SECONDS = 0.2


class _Ticket:
    """One call that wants a place. Changed under the lock alone."""

    def __init__(self, plugin: str, caller: str, together: int) -> None:
        self.plugin = plugin
        self.together = together
        self.caller = caller
        self.key: Key = (plugin, together)
        self.since = time.monotonic()
        self.woken = threading.Event()


class Admission:
    """Bounded numbers of places and a bounded queue before them. Thread-safe."""

    def __init__(
        self,
        places: int,
        parallel: int,
        max_waiting: int,
        queue_seconds: float,
        share: PlacesShare | None = None,
    ) -> None:
        """``places`` for all calls, ``parallel`` of them at most for those of one plugin.

        With a ``share`` they are this process's part in what is there, and whoever makes this
        closes it.
        """
        self._places = places
        self._parallel = parallel
        self._max_waiting = max_waiting
        self._queue_seconds = queue_seconds
        self._share = share
        self._is_closed = False
        self._begin()
        forks.in_each_child(self, Admission._in_child)
        self._listener: threading.Thread | None = None
        if share is not None:
            self._listener = threading.Thread(
                target=self._listen, args=(share,), name="toolrunner-places", daemon=True
            )
            self._listener.start()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        # Who holds a place is all that is known of places: one step takes it and one gives it
        # back, so that an exception from a signal handler finds no half of either.
        self._holding: dict[_Ticket, None] = {}
        self._waiting: collections.deque[_Ticket] = collections.deque()
        # When those here may have what was left to others.
        self._leaving_until: float | None = None
        # Whether those who wait lack a place of the server's, and not only one of their plugin's.
        self._lacks_any = False

    def _in_child(self) -> None:
        self._share = self._listener = None  # they are the parent's, and so are its calls
        self._begin()

    @property
    def most_calls(self) -> int:
        """How many calls may run and wait here."""
        return self._places + self._max_waiting

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._waiting)

    def close(self) -> None:
        """End the thread that a share needs."""
        self._is_closed = True
        if self._share is not None and self._listener is not None:
            self._share.ring()
            self._listener.join()

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
            if self._share is not None and self._waiting:
                self._hand_out()  # what is free elsewhere is first for those who wait
            if self._has_room(ticket.key, self._held()) and self._takes(ticket):
                # Those who wait cannot use this place, or it would be theirs already.
                self._holding[ticket] = None
                return
            self._sit_down(ticket.caller)
            self._waiting.append(ticket)
            self._tell()
        with interrupt.waking(ticket.woken.set):
            ticket.woken.wait(self._queue_seconds)
        if interrupt.cancelled:
            raise GovernedError(ErrorType.CANCELLED, "cancelled before it began")
        with self._lock:
            if ticket not in self._holding:
                raise _overloaded(f"no place was free for {self._queue_seconds:g} s")

    def _sit_down(self, caller: str) -> None:
        """Take a seat in the waiting room, if there is one and it is not the next caller's."""
        own, taken = sum(one.caller == caller for one in self._waiting), len(self._waiting)
        if caller and self._share is not None:
            own_elsewhere, elsewhere = self._share.waiting_elsewhere(caller)
            own, taken = own + own_elsewhere, taken + elsewhere
        if not is_fair(caller, own, taken, self._max_waiting):
            raise _overloaded(f"{own} calls of this caller wait; what is free is for others")
        is_free = taken < self._max_waiting if self._share is None else self._share.queue()
        if not is_free:
            raise _overloaded(f"{self._max_waiting} calls are waiting already")

    def _held(self) -> collections.Counter[Key]:
        return collections.Counter(one.key for one in self._holding)

    def _has_room(self, key: Key, held: collections.Counter[Key]) -> bool:
        together, own = key[1], held[key]
        if own % together:
            return True  # in a place that is held already
        taken = sum(-(-count // each) for (_, each), count in held.items())
        return taken < self._places and own // together < self._parallel

    def _leave(self, ticket: _Ticket) -> None:
        """Give up a place, or the wait for one, and hand the place to whose turn it is."""
        with self._lock:
            if ticket not in self._holding:
                with contextlib.suppress(ValueError):  # turned away before it could wait
                    self._waiting.remove(ticket)
                self._tell()
                return
            del self._holding[ticket]
            if self._share is not None and not self._held()[ticket.key] % ticket.together:
                self._share.give(ticket.key)
            self._hand_out()

    def _hand_out(self) -> None:
        """Let in whose turn it is, as long as there are places that they can use."""
        refused: set[Key] = set()
        self._lacks_any = False
        while (chosen := self._next(refused)) is not None:
            if not self._takes(chosen):
                refused.add(chosen.key)
                continue
            self._waiting.remove(chosen)
            self._holding[chosen] = None
            chosen.woken.set()
        self._tell()

    def _next(self, refused: Collection[Key] = ()) -> _Ticket | None:
        if not self._waiting:
            return None
        held = self._held()
        keys = {ticket.key for ticket in self._waiting}.difference(refused)
        able = {key for key in keys if self._has_room(key, held)}
        plugins = collections.Counter(ticket.plugin for ticket in self._holding)
        callers = collections.Counter(ticket.caller for ticket in self._holding)
        # Of equals the first, which has waited longest.
        return min(
            (ticket for ticket in self._waiting if ticket.key in able),
            key=lambda t: (callers[t.caller], plugins[t.plugin]),
            default=None,
        )

    def _takes(self, ticket: _Ticket) -> bool:
        """Take a place from those of all workers, for a call that there is room for here."""
        share = self._share
        if share is None or (ticket.together > 1 and self._held()[ticket.key] % ticket.together):
            return True
        lack = share.take(ticket.key)
        if lack is not None:
            self._lacks_any |= lack is Lack.PLACES
            return False
        if self._may_keep(ticket, share):
            return True
        share.give(ticket.key)
        return False

    def _may_keep(self, ticket: _Ticket, share: PlacesShare) -> bool:
        """Whether no call of another worker comes first, or has not taken what was left to it."""
        now = time.monotonic()
        if self._leaving_until is not None and now >= self._leaving_until:
            return True
        since = next((one.since for one in self._waiting if one.key == ticket.key), ticket.since)
        since_any = self._waiting[0].since if self._waiting else ticket.since
        if not share.is_older_elsewhere(ticket.key, since, since_any):
            return True
        if self._leaving_until is None:
            self._leaving_until = now + _LEAVE_SECONDS
            share.ring()
        return False

    def _tell(self) -> None:
        """Let the other workers know who waits here, and since when."""
        if self._share is None:
            return
        if not self._waiting:
            self._share.tell_nobody_waits()
            return
        of: dict[Key, float] = {}
        callers = collections.Counter(ticket.caller for ticket in self._waiting)
        for ticket in self._waiting:
            of.setdefault(ticket.key, ticket.since)
        for_any = self._waiting[0].since if self._lacks_any else None
        self._share.tell(for_any, of, callers)

    def _listen(self, share: PlacesShare) -> None:
        """Look for places that others have left; in a thread of its own."""
        while not self._is_closed:
            until = self._leaving_until
            share.rung(_LOOK_SECONDS if until is None else max(0.0, until - time.monotonic()))
            with self._lock:
                self._hand_out()
                if self._leaving_until is not None and time.monotonic() >= self._leaving_until:
                    self._leaving_until = None


def _overloaded(why: str) -> GovernedError:
    return GovernedError(
        ErrorType.OVERLOADED,
        f"{why}; try again later, or raise max_concurrent, max_parallel or max_waiting",
        {"retry_after_seconds": 1},
    )
