"""Loading a plugin in a zygote or a resident, for calls to come; none is made.

order the process -> "placed" -> LOAD -> CONFINED -> LOADED
"""

from __future__ import annotations

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Isolation
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, load_frame
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.profile import Program


class LoadExchange(Exchange):
    """``loaded`` tells whether it worked; the ending says how else it ended."""

    warms_up = True

    def __init__(
        self,
        cell: Cell,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        program: Program,
        *,
        resident: bool = False,
    ) -> None:
        """``resident``: the process that loads it will serve the calls itself."""
        super().__init__(cell, interrupt, listener, isolation)
        self._program = program
        self._resident = resident
        self.loaded = False

    def on_placed(self) -> None:
        """Say what to load."""
        frame = load_frame(self._program, warms_up=self.warms_up, resident=self._resident)
        self.send(frame)

    def on_confined(self) -> None:
        """The import begins."""
        self.begin_load()

    def on_loaded(self) -> None:
        """There is nothing more to do; the process goes on."""
        self.loaded = True
        self.finish()
