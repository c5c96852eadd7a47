"""A call in a cell that was forked of the loaded plugin, most often before the call came.

order the cell -> "placed" -> CONFINED -> REQUEST -> reply -> "exit"
"""

from __future__ import annotations

from collections.abc import Callable

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Isolation
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.interrupt import Interrupt

WARM_SECONDS = 3.0  # for a cell that has only to be forked: without it, the call runs cold


class WarmExchange(Exchange):
    """One warm call."""

    setup_seconds = WARM_SECONDS

    def __init__(
        self,
        cell: Cell,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        request: Request,
        on_sent: Callable[[], None],
        may_leave: bool,
    ) -> None:
        """``on_sent`` is called while the cell works; ``may_leave``: who called sees to its end."""
        super().__init__(cell, interrupt, listener, isolation)
        self._request = request
        self._on_sent = on_sent
        self.may_leave = may_leave

    def on_placed(self) -> None:
        """Nothing is to be ordered: a cell that was made ahead has been confined long since."""
        self.receive()

    def on_confined(self) -> None:
        """The call begins."""
        if self.send_request(self._request, fresh=True):
            self._on_sent()
