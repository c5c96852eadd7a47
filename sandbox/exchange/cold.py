"""A call in a cell that loads the plugin for it alone: a load, and then the call.

order the cell -> "placed" -> LOAD -> CONFINED -> LOADED -> REQUEST -> reply -> "exit"
"""

from __future__ import annotations

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Isolation
from toolrunner.sandbox.exchange.load import LoadExchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.profile import Program


class ColdExchange(LoadExchange):
    """One cold call."""

    warms_up = False

    def __init__(
        self,
        cell: Cell,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        program: Program,
        request: Request,
        may_leave: bool,
    ) -> None:
        """``may_leave``: who called sees to the end of its process."""
        super().__init__(cell, interrupt, listener, isolation, program)
        self._request = request
        self.may_leave = may_leave

    def on_loaded(self) -> None:
        """The call begins."""
        self.loaded = True
        self.send_request(self._request, fresh=False)
