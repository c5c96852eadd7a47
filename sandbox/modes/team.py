"""Who waits for a resident, and the residents of one plugin: plain data, changed under one lock."""

from __future__ import annotations

import collections
import contextlib
import threading
from dataclasses import replace

from toolrunner.sandbox.ending import Ending
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.modes.mode import Caller
from toolrunner.sandbox.modes.resident_process import ResidentProcess

_MOST_HEARD = 16  # reports of progress


class Ticket:
    """One call that waits: for a resident, or for the end of the batch that has taken it along."""

    def __init__(self, caller: Caller, request: Request | None) -> None:
        self.caller = caller
        self.request = request
        self.woken = threading.Event()
        self.team: Team | None = None  # where it waits
        self.resident: ResidentProcess | None = None  # that it has been given
        self.batch: Batch | None = None
        # The newest, for a caller that is slower to hear than the plugin is to tell.
        self.heard: collections.deque[tuple[float, str]] = collections.deque(maxlen=_MOST_HEARD)
        self.is_withdrawn = False
        self.is_over = False
        self.ending: Ending | None = None  # once it is over; ``None``: nothing was sent


class Batch:
    """Calls of one caller that one resident serves together."""

    def __init__(self, first: Ticket) -> None:
        self._most = first.caller.program.batch
        self.tickets = [first]
        first.batch = self
        self.full = threading.Event()
        self.interrupt = Interrupt()
        self.caller = replace(
            first.caller,
            interrupt=self.interrupt,
            listener=Listener(self._progress, first.caller.listener.on_log),
        )

    @property
    def has_room(self) -> bool:
        """Whether another call may join."""
        return len(self.tickets) < self._most

    def join(self, ticket: Ticket) -> bool:
        """Take a call along, if it is the same caller's; tell whether it could be."""
        first, caller = self.tickets[0].caller, ticket.caller
        is_call = ticket.request is not None and not caller.interrupt.cancelled
        if not (is_call and self.has_room and caller.on_behalf_of == first.on_behalf_of):
            return False
        self.tickets.append(ticket)
        ticket.batch = self
        if len(self.tickets) == self._most:
            self.full.set()
        return True

    def close(self) -> None:
        """Let no more calls join, and leave those out that were withdrawn before it has begun."""
        self.tickets = [
            one for one in self.tickets if not (one.is_withdrawn or one.caller.interrupt.cancelled)
        ]

    def withdraw(self, ticket: Ticket) -> bool:
        """Leave a call out; tell whether it need not wait. The last one ends the batch."""
        ticket.is_withdrawn = True
        if ticket in self.tickets and all(one.is_withdrawn for one in self.tickets):
            self.interrupt.cancel()
            return False
        return True

    def _progress(self, fraction: float, message: str) -> None:
        """Tell each call: its own thread passes it on to its caller."""
        for ticket in self.tickets:
            ticket.heard.append((fraction, message))
            ticket.woken.set()


class Team:
    """The residents of one plugin and owner."""

    def __init__(self, caller: Caller) -> None:
        self.caller = replace(caller, interrupt=Interrupt(), listener=Listener())
        self.idle: list[ResidentProcess] = []  # the one that was used last at the end
        self.busy: set[ResidentProcess] = set()
        self.loading = 0
        self.wanted = 0  # as many are to be made ready
        self.is_left = False  # its files or limits have changed
        self.waiting: list[Ticket] = []
        self.open: list[Batch] = []  # that wait for more calls

    def is_for(self, caller: Caller) -> bool:
        """Tell whether a call may have one of these residents."""
        return self.caller.program == caller.program and self.caller.limits == caller.limits

    @property
    def is_unused(self) -> bool:
        """Whether there is nothing to keep of it."""
        return not (self.count or self.waiting or self.open)

    @property
    def count(self) -> int:
        """How many residents there are, or will be."""
        return len(self.idle) + len(self.busy) + self.loading

    def take_idle(self) -> ResidentProcess | None:
        """Take the resident that was used last, whose memory is warm."""
        if not self.idle:
            return None
        resident = self.idle.pop()
        self.busy.add(resident)
        return resident

    def give(self, resident: ResidentProcess) -> None:
        """Hand a resident to who has waited longest; without one it is idle."""
        self.busy.discard(resident)
        if not self.waiting:
            self.idle.append(resident)
            return
        ticket = self.waiting.pop(0)
        ticket.resident = resident
        self.busy.add(resident)
        ticket.woken.set()

    def wait(self, ticket: Ticket) -> None:
        """Let a call wait, or wait on."""
        if ticket.team is not self:
            forget(ticket)
        if ticket not in self.waiting:
            self.waiting.append(ticket)
        ticket.team = self

    def wake_next(self) -> None:
        """Let who has waited longest see whether there is room for a resident more."""
        for ticket in self.waiting[:1]:
            ticket.woken.set()

    def take_along(self, batch: Batch) -> None:
        """Put the calls that wait into a batch of their caller, as many as it takes."""
        for ticket in [ticket for ticket in self.waiting if batch.join(ticket)]:
            self.waiting.remove(ticket)
            ticket.woken.set()


def forget(ticket: Ticket) -> None:
    """Let a call wait no more."""
    if ticket.team is not None:
        with contextlib.suppress(ValueError):  # it has got what it waited for
            ticket.team.waiting.remove(ticket)
        ticket.team = None
