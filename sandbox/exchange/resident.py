"""A call in a resident cell, or a batch of them; it was loaded before and goes on after.

hand the ends over, REQUEST -> reply -> the end of the call's channel

A batch is that with several requests and as many replies: one exchange, under one deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolrunner.sandbox.ending import Ending, Isolation, Raised, Reply, Returned
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.frames import FrameError
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.turn import Turn


class ResidentExchange(Exchange):
    """One turn of a resident. ``is_over`` tells that the resident has ended with it."""

    outlived = True
    grace_seconds = 0.5  # a busy host takes longer, and a process that is loaded is worth a wait

    def __init__(
        self,
        turn: Turn,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        requests: Sequence[Request],
    ) -> None:
        super().__init__(turn, interrupt, listener, isolation, calls=len(requests))
        self._requests = requests
        self._replies: list[tuple[Reply, int]] = []

    def begin(self) -> None:
        """The call begins: the cell waits for it."""
        self.send_request(*self._requests, fresh=False)

    def on_placed(self) -> None:
        """Nobody says so: it has been in its place since it was loaded."""

    def on_confined(self) -> None:
        """It cannot say so again."""
        message = "a resident that says it is confined"
        raise FrameError(message)

    def is_last(self, reply: Reply, size: int) -> bool:
        """Keep each reply: there is one for each request, in their order."""
        self._replies.append((reply, size))
        return len(self._replies) == len(self._requests)

    @property
    def went_well(self) -> bool:
        """Whether the process can serve another call."""
        facts = self._facts
        return (
            facts.reply is not None
            and all(_harmless(reply) for reply, _ in self._replies)
            and not (facts.killed or facts.cancelled or facts.limit or facts.protocol_error)
            and facts.report is None
        )

    def each(self, ending: Ending) -> list[Ending]:
        """Return how each call ended, from how the turn did.

        Processor time is shared equally; all else that was used or printed is the batch's.
        """
        count = len(self._requests)
        if count == 1:
            return [ending]
        limit = ending.limit
        if limit is not None and limit.name == "cpu_seconds":
            limit = replace(
                limit, configured=limit.configured / count, observed=limit.observed / count
            )
        usage = replace(ending.usage, cpu_ms=round(ending.usage.cpu_ms / count))
        shared = replace(ending, limit=limit, usage=usage)
        if ending.reply is None:
            return [shared] * count
        return [
            replace(shared, reply=reply, usage=replace(usage, output_bytes=size))
            for reply, size in self._replies
        ]


def _harmless(reply: Reply) -> bool:
    """Tell whether a reply leaves the process as it was.

    It is a result, or the plugin has looked at its input and refused it.
    """
    refused = isinstance(reply, Raised) and reply.blames_caller
    return refused or isinstance(reply, Returned)
