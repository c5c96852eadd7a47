"""Loading a plugin in a zygote or a resident, for calls to come; none is made.

order the process -> "placed" -> LOAD -> CONFINED -> SOURCES? -> CACHES? -> LOADED
"""

from __future__ import annotations

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Ending, Isolation
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, load_frame
from toolrunner.sandbox.inside import protocol
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
        self._caches = cell.box.caches
        self._bytecode = cell.box.bytecode
        self._stored = b""
        self._wanted = self._caches is not None
        self.loaded = False

    def on_placed(self) -> None:
        """Say what to load, with what an earlier load has written into its caches."""
        if self._caches is not None:
            self._stored = self._caches.find(self._program, warms_up=self.warms_up)
            self._wanted = not self._stored
        frame = load_frame(
            self._program,
            warms_up=self.warms_up,
            resident=self._resident,
            caches=self._stored,
            wants_caches=self._wanted,
        )
        self.send(frame)

    def on_left(self, kind: bytes, body: bytes) -> None:
        """Keep it for the next load, each once: no call has come to this process yet."""
        if kind == protocol.CACHES and self._caches is not None and self._wanted:
            self._wanted = False
            self._caches.keep(self._program, body, warms_up=self.warms_up)
        elif kind == protocol.SOURCES and self._bytecode is not None:
            self._bytecode.want(body)
            self._bytecode = None
        else:
            super().on_left(kind, body)

    def run(self) -> Ending:
        """Serve the load to its end; what was stored for one that fails is not used again."""
        ending = super().run()
        if self._caches is not None and self._stored and not self.loaded:
            self._caches.forget(self._program, warms_up=self.warms_up)
        return ending

    def on_confined(self) -> None:
        """The import begins."""
        self.begin_load()

    def on_loaded(self) -> None:
        """There is nothing more to do; the process goes on."""
        self.loaded = True
        self.finish()
