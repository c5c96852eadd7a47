"""A call in a cell that loads the plugin for it alone.

order the cell -> "placed" -> LOAD -> CONFINED -> LOADED -> REQUEST -> reply -> "exit"
"""

from __future__ import annotations

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Isolation
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, Request, load_frame
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.profile import Program


class ColdExchange(Exchange):
    """One cold call."""

    def __init__(
        self,
        cell: Cell,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        program: Program,
        request: Request,
    ) -> None:
        super().__init__(cell, interrupt, listener, isolation)
        self._program = program
        self._request = request

    def on_placed(self) -> None:
        """Say what to load."""
        self.send(load_frame(self._program))

    def on_confined(self) -> None:
        """The import begins."""
        self.begin_load()

    def on_loaded(self) -> None:
        """The call begins."""
        self.send_request(self._request, fresh=False)
