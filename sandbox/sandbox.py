"""The sandbox as its users see it: one object, and ``call``.

Holds what all calls share: the host's layers, the thread that starts boxes, the watchdog.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from types import TracebackType

from sandbox.box import Box, SetupError
from sandbox.ending import Ending, Isolation, SetupFailure, Stage
from sandbox.exchange import Exchange, Listener, Request
from sandbox.interrupt import Interrupt
from sandbox.layers import Layers, floor_gaps
from sandbox.limits import Limits
from sandbox.probe import probe
from sandbox.profile import Program
from sandbox.spawn import Spawner
from sandbox.watchdog import Watchdog

DOCTOR = "run `toolrunner doctor` to see what this host can isolate and what would help"

_LOG = logging.getLogger("toolrunner.sandbox")


class Sandbox:
    """Runs programs in boxes of their own. Thread-safe; a context manager."""

    def __init__(
        self, *, degraded: bool = False, layers: Layers | None = None, python: str = ""
    ) -> None:
        """``degraded``: the operator's word that less than the floor will do.

        ``layers``: apply these instead of all that the host has. ``python``: the interpreter of
        the boxes, this one if empty.
        """
        self._degraded = degraded
        self._layers = layers
        self._spawner = Spawner(python)
        self._watchdog = Watchdog()
        self._lock = threading.Lock()
        # A start of its own for each process, so that two runners do not share box users.
        self._numbers = itertools.count(os.getpid())

    def layers(self) -> Layers:
        """Return what confines calls here; found out once, by trying."""
        with self._lock:
            if self._layers is None:
                # The first call's launcher can start while the host is probed.
                with contextlib.suppress(OSError):  # the probe will meet it, and say it
                    self._spawner.prepare()
                self._layers = probe(self._spawner).layers
            return self._layers

    def isolation(self) -> Isolation:
        """Return the same as an envelope shows it."""
        layers = self.layers()
        return Isolation("cold", layers.names(), layers.missing())

    def call(
        self,
        program: Program,
        limits: Limits,
        request: Request,
        *,
        interrupt: Interrupt | None = None,
        listener: Listener | None = None,
        require: tuple[str, ...] = (),
    ) -> Ending:
        """Run one call in a fresh box and tell how it ended; raise nothing but bugs."""
        try:
            layers = self.layers()
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure)
        isolation = Isolation("cold", layers.names(), layers.missing())
        refusal = self._refusal(layers, require)
        if refusal is not None:
            return Ending(stage=Stage.SETUP, setup=refusal, isolation=isolation)
        interrupt = interrupt or Interrupt()
        if interrupt.cancelled:
            return Ending(stage=Stage.SETUP, cancelled=True, isolation=isolation)
        number = next(self._numbers)
        try:
            with Box(self._spawner, program, layers, number) as box:
                exchange = Exchange(
                    box,
                    1,
                    program,
                    limits,
                    request,
                    interrupt,
                    listener or Listener(),
                    isolation,
                )
                if layers.watchdog:
                    self._watchdog.add(exchange.watch)
                try:
                    return exchange.run()
                finally:
                    self._watchdog.remove(exchange.watch)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)

    def _refusal(self, layers: Layers, require: tuple[str, ...]) -> SetupFailure | None:
        lacking = layers.lacks(require)
        if lacking:
            message = f"the plugin requires {', '.join(lacking)}, which this host does not have"
            return SetupFailure("check the required layers", message, remedy=DOCTOR)
        gaps = floor_gaps(layers)
        if gaps and self._degraded:
            _LOG.warning("running with degraded isolation: %s", "; ".join(gaps))
        elif gaps:
            message = f"this host cannot isolate a call well enough: {'; '.join(gaps)}"
            remedy = f"{DOCTOR}; TOOLRUNNER_ISOLATION=degraded accepts less, at your own risk"
            return SetupFailure("check the isolation floor", message, remedy=remedy)
        return None

    def close(self) -> None:
        """End the threads. Calls that still run end first."""
        self._watchdog.close()
        self._spawner.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
