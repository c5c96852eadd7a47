"""Resident: one process loads the plugin, and serves one call after the other.

For plugins that cannot be forked. What a process keeps between calls (memory, threads, open
files) the next one finds; so only the operator can allow it, and whatever fails in one ends it.
Calls of one caller may be served together, as a batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import Ending, Replaced, ResidentFigures, Returned, Stage
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.exchange.resident import ResidentExchange
from toolrunner.sandbox.input_folders import NotGivenError
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.mode import Caller, isolation_of
from toolrunner.sandbox.modes.resident_pool import ResidentLimits, ResidentPool
from toolrunner.sandbox.modes.resident_process import ResidentProcess
from toolrunner.sandbox.modes.team import Batch, Ticket
from toolrunner.sandbox.shortage import NoThreadError, submit

__all__ = ["ResidentLimits", "Residents"]

_TRIES = 3


class Residents:
    """Runs calls in residents. Thread-safe."""

    def __init__(self, boxes: Boxes, limits: ResidentLimits) -> None:
        self._boxes = boxes
        self._limits = limits
        self._pool = ResidentPool(boxes, limits)
        self._begin()
        forks.in_each_child(self, Residents._begin)

    def _begin(self) -> None:
        # None is started before there is a batch.
        self._threads = ThreadPoolExecutor(self._limits.all, "toolrunner-batch")

    def figures(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of each plugin."""
        return self._pool.figures()

    def close(self) -> None:
        """End all residents, with the calls that still run in them."""
        self._pool.close()
        self._threads.shutdown()

    # --- a call ----------------------------------------------------------------------------

    def call(self, caller: Caller, request: Request) -> Ending | None:
        """Run one call and tell how it ended; ``None`` when its processes end by themselves."""
        for _ in range(_TRIES):
            ticket = Ticket(caller, request)
            found = self._pool.take(ticket)
            if isinstance(found, Ending):
                return found
            if isinstance(found, Batch):
                ending = self._wait_for(found, ticket)
            else:
                ending = self._call_in(found, ticket)
            if ending is not None:
                return ending
            # It had ended while it was idle: nothing of the request was sent.
        return None

    def start(self, caller: Caller) -> Ending | None:
        """Load a resident now, if there is none; return how loading it failed, or ``None``."""
        found = self._pool.take(Ticket(caller, None))
        if isinstance(found, ResidentProcess):
            self._pool.give_back(found)
        return found if isinstance(found, Ending) else None

    def _call_in(self, resident: ResidentProcess, ticket: Ticket) -> Ending | None:
        """Run a call in a resident that it has got, and others that wait together with it."""
        batch = self._gather(resident, ticket)
        if batch is None:
            endings = self._serve(resident, ticket.caller, [ticket])
            return endings[0] if endings else None
        if batch.tickets:
            self._in_batch_thread(resident, batch)
        else:
            self._pool.give_back(resident)
        return self._wait_for(batch, ticket)

    def _serve(
        self, resident: ResidentProcess, caller: Caller, tickets: Sequence[Ticket]
    ) -> list[Ending] | None:
        """Give a resident its turn, then back; ``None`` if it was gone and nothing was sent."""
        endings = None
        requests = [ticket.request for ticket in tickets if ticket.request is not None]
        try:
            endings = self._turn(resident, caller, requests)
            if endings is None:
                resident.spend(Replaced.ENDED)
            elif not all(map(_is_sound, tickets, endings)):
                resident.spend(Replaced.FAILED)
        finally:
            self._pool.give_back(resident, calls=len(requests))
        return endings

    def _turn(
        self, resident: ResidentProcess, caller: Caller, requests: Sequence[Request]
    ) -> list[Ending] | None:
        isolation = isolation_of(caller.layers, "resident")
        files = [file for request in requests for file in request.files or ()]
        try:
            given = resident.give(files, caller.interrupt)
        except NotGivenError as error:
            return [replace(error.ending, isolation=isolation)] * len(requests)
        with contextlib.closing(given):
            placed = [replace(request, folder=given.folder) for request in requests]
            return self._turn_with(resident, caller, placed)

    def _turn_with(
        self, resident: ResidentProcess, caller: Caller, requests: Sequence[Request]
    ) -> list[Ending] | None:
        """Run calls whose files are there."""
        isolation = isolation_of(caller.layers, "resident")
        try:
            turn = resident.turn(len(requests))
        except OSError:
            return None
        with contextlib.closing(turn):
            exchange = ResidentExchange(
                turn, caller.interrupt, caller.listener, isolation, requests=requests
            )
            ending = self._boxes.watched(caller, exchange)
            if ending.cancelled:
                resident.spend(Replaced.CANCELLED)
            resident.served(exchange)
        if ending.stage is Stage.SETUP and not ending.cancelled:
            return None
        load_log = resident.take_load_log()
        if load_log:
            ending = replace(ending, log_tail=load_log + ending.log_tail)
        return exchange.each(ending)

    # --- batches ---------------------------------------------------------------------------

    def _gather(self, resident: ResidentProcess, ticket: Ticket) -> Batch | None:
        """Return the calls that are served together with one that has a resident, if any.

        The call itself is not among them if it was withdrawn meanwhile.
        """
        batch = self._pool.open_batch(resident, ticket)
        if batch is None:
            return None
        is_whole = False
        try:
            if batch.has_room and ticket.caller.program.batch_ms:
                batch.full.wait(ticket.caller.program.batch_ms / 1000)
            is_whole = True
        finally:
            self._pool.close_batch(batch)
            if not is_whole:  # an exception from outside, as of a Ctrl-C
                self._pool.end_batch(batch, None)
                self._pool.give_back(resident)
        return None if batch.tickets == [ticket] else batch

    def _in_batch_thread(self, resident: ResidentProcess, batch: Batch) -> None:
        """Serve a batch in a thread that is none of its calls', so that each may be withdrawn."""
        try:
            submit(self._threads, partial(self._serve_batch, resident, batch))
        except (RuntimeError, NoThreadError):  # closed meanwhile, or no thread is left
            self._serve_batch(resident, batch)

    def _serve_batch(self, resident: ResidentProcess, batch: Batch) -> None:
        endings = None
        try:
            endings = self._serve(resident, batch.caller, batch.tickets)
        finally:
            self._pool.end_batch(batch, endings)

    def _wait_for(self, batch: Batch, ticket: Ticket) -> Ending | None:
        """Wait for the end of a batch, or for the call to be withdrawn from it."""
        caller, owner = ticket.caller, os.getpid()
        try:
            with caller.interrupt.waking(ticket.woken.set):
                is_over = False
                while not is_over:
                    is_over = ticket.is_over  # and what was heard before that is told still
                    while ticket.heard:
                        caller.listener.on_progress(*ticket.heard.popleft())
                        forks.check_it_is(owner)
                    if caller.interrupt.cancelled and self._pool.withdraw(batch, ticket):
                        isolation = isolation_of(caller.layers, "resident")
                        return Ending(stage=Stage.RUN, cancelled=True, isolation=isolation)
                    if not is_over:
                        ticket.woken.wait()
                        ticket.woken.clear()
        except BaseException:
            if os.getpid() == owner:
                self._pool.withdraw(batch, ticket)
            raise
        return ticket.ending


def _is_sound(ticket: Ticket, ending: Ending) -> bool:
    """Tell whether a reply is none, or one that its call takes for a result."""
    return not isinstance(ending.reply, Returned) or ticket.caller.is_sound(ending.reply.body)
