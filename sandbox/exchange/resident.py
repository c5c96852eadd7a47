"""A call in a resident cell, which was loaded before it and goes on after it.

hand the ends over, REQUEST -> reply -> the end of the call's channel
"""

from __future__ import annotations

from toolrunner.sandbox.ending import INVALID_INPUT, Isolation, Raised, Reply, Returned
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.frames import FrameError
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.turn import Turn


class ResidentExchange(Exchange):
    """One call of a resident. ``is_over`` tells that the resident has ended with it."""

    outlived = True

    def __init__(
        self,
        turn: Turn,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        request: Request,
    ) -> None:
        super().__init__(turn, interrupt, listener, isolation)
        self._request = request

    def begin(self) -> None:
        """The call begins: the cell waits for it."""
        self.send_request(self._request, fresh=False)

    def on_placed(self) -> None:
        """Nobody says so: it has been in its place since it was loaded."""

    def on_confined(self) -> None:
        """It cannot say so again."""
        message = "a resident that says it is confined"
        raise FrameError(message)

    @property
    def went_well(self) -> bool:
        """Whether the process can serve another call."""
        facts = self._facts
        return (
            (isinstance(facts.reply, Returned) or _blames_the_caller(facts.reply))
            and not (facts.killed or facts.cancelled or facts.limit or facts.protocol_error)
            and facts.report is None
        )


def _blames_the_caller(reply: Reply | None) -> bool:
    """Tell whether the plugin has looked at its input and refused it, which harms nothing."""
    return isinstance(reply, Raised) and reply.exception == INVALID_INPUT
