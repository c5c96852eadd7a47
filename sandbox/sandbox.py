"""The sandbox as its users see it: one object, and ``call``.

Holds what all calls share: the host's layers, the thread that starts boxes, the watchdog, and
the pool of warm boxes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import threading
from dataclasses import dataclass, replace
from types import TracebackType

from toolrunner.sandbox.box import Box, SetupError
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Ending, Isolation, SetupFailure, Stage
from toolrunner.sandbox.exchange import WARM_SECONDS, Exchange, Listener, Request
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers, floor_gaps, warm_gaps
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.pool import Found, Pool
from toolrunner.sandbox.probe import probe
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.spawn import Spawner
from toolrunner.sandbox.warm_box import GoneError, PoolLimits, WarmBox
from toolrunner.sandbox.watchdog import Watchdog

DOCTOR = "run `toolrunner doctor` to see what this host can isolate and what would help"

_WARM_TRIES = 2  # a box may have gone, or been used up, since it was found

_LOG = logging.getLogger("toolrunner.sandbox")


@dataclass(frozen=True, slots=True)
class _Caller:
    """What one call brings along, whichever way it runs."""

    program: Program
    limits: Limits
    interrupt: Interrupt
    listener: Listener
    layers: Layers


@functools.cache
def isolation_of(layers: Layers, mode: str) -> Isolation:
    """Return what an envelope shows of a call's confinement; ``mode`` is "warm" or "cold"."""
    return Isolation(mode, layers.names(), layers.missing())


def _why(ending: Ending) -> str:
    """Return how a cell ended that never came to its call."""
    if ending.setup is not None:
        return f"{ending.setup.operation}: {ending.setup.message}"
    return ending.signal or f"exit code {ending.exit_code}"


class Sandbox:
    """Runs programs in boxes of their own. Thread-safe; a context manager."""

    def __init__(
        self,
        *,
        degraded: bool = False,
        layers: Layers | None = None,
        python: str = "",
        pool: PoolLimits | None = None,
    ) -> None:
        """``degraded``: the operator's word that less than the floor will do.

        ``layers``: apply these instead of all that the host has. ``python``: the interpreter of
        the boxes, this one if empty. ``pool``: what warm boxes may take of the host.
        """
        self._degraded = degraded
        self._layers = layers
        self._spawner = Spawner(python)
        self._watchdog = Watchdog()
        self._pool = Pool(pool or PoolLimits())
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
        """Return the same as the envelope of a cold call shows it."""
        return isolation_of(self.layers(), "cold")

    def gaps(self) -> tuple[str, ...]:
        """Return what of the floor this host cannot promise, unless the operator accepts that."""
        return () if self._degraded else floor_gaps(self.layers())

    def call(
        self,
        program: Program,
        limits: Limits,
        request: Request,
        *,
        interrupt: Interrupt | None = None,
        listener: Listener | None = None,
        require: tuple[str, ...] = (),
        warm: bool = True,
    ) -> Ending:
        """Run one call in a fresh process and tell how it ended; raise nothing but bugs.

        ``warm``: in a cell of the program's warm box, if it can have one.
        """
        interrupt, listener = interrupt or Interrupt(), listener or Listener()
        try:
            layers = self.layers()
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure)
        refusal = self._refusal(layers, require)
        if refusal is not None:
            isolation = isolation_of(layers, "cold")
            return Ending(stage=Stage.SETUP, setup=refusal, isolation=isolation)
        if interrupt.cancelled:
            isolation = isolation_of(layers, "cold")
            return Ending(stage=Stage.SETUP, cancelled=True, isolation=isolation)
        caller = _Caller(program, limits, interrupt, listener, layers)
        ending = self._call_warm(caller, request) if warm else None
        return ending if ending is not None else self._call_cold(caller, request)

    def start(
        self, program: Program, limits: Limits, interrupt: Interrupt | None = None
    ) -> tuple[str, ...] | Ending:
        """Make a program's warm box now; return why it has none (nothing if it has).

        An ``Ending`` tells how loading it failed. Raises ``SetupError`` where no call can run.
        """
        layers = self.layers()
        refusal = self._refusal(layers, ())
        if refusal is not None:
            raise SetupError(refusal)
        caller = _Caller(program, limits, interrupt or Interrupt(), Listener(), layers)
        found = self._warm_box(caller)
        return () if isinstance(found, WarmBox) else found

    # --- warm ------------------------------------------------------------------------------

    def _warm_box(self, caller: _Caller) -> Found:
        return warm_gaps(caller.layers) or self._pool.obtain(
            caller.program, caller.limits, caller.interrupt, lambda: self._load(caller)
        )

    def _load(self, caller: _Caller) -> Found:
        """Start a box and load the program in its zygote."""
        sizes = self._pool.sizes
        isolation = isolation_of(caller.layers, "warm")
        number = 2 * next(self._numbers) + 1
        try:
            with contextlib.ExitStack() as stack:
                box = stack.enter_context(self._box(caller, number, slots=sizes.slots))
                with Cell(box, protocol.THE_ZYGOTE, protocol.LOADING_SLOT) as cell:
                    exchange = Exchange(
                        cell, caller.interrupt, caller.listener, isolation, program=caller.program
                    )
                    ending = self._watched(exchange, caller.layers)
                    if not exchange.loaded:
                        return ending
                    reasons = tuple(box.inspect())
                if reasons:
                    return reasons
                warm = WarmBox(stack.pop_all(), box, sizes, ending.log_tail)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the load", str(error), error.errno)
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)
        warm.replenish()
        if not warm.answers(min(WARM_SECONDS, caller.limits.load_seconds / 2)):
            warm.close()
            return ("its import does not come to an end, whatever it says",)
        return warm

    def _call_warm(self, caller: _Caller, request: Request) -> Ending | None:
        """Run a call in the program's warm box; ``None`` when it has to run cold.

        Nothing of the request has been sent then.
        """
        for _ in range(_WARM_TRIES):
            found = self._warm_box(caller)
            if isinstance(found, Ending):
                return found
            if not isinstance(found, WarmBox):
                return None
            try:
                cell = found.take()
            except GoneError:
                self._pool.discard(caller.program, found)
                continue
            ending = self._call_in(found, cell, caller, request)
            if ending.stage is not Stage.SETUP or ending.cancelled:
                return ending
            self._pool.failed(caller.program, found, _why(ending))
        return None

    def _call_in(self, box: WarmBox, cell: Cell, caller: _Caller, request: Request) -> Ending:
        isolation = isolation_of(caller.layers, "warm")
        exchange = Exchange(
            cell,
            caller.interrupt,
            caller.listener,
            isolation,
            request=request,
            on_sent=lambda: box.replenish(urgently=True),
            on_reply=box.replenish,
        )
        served = False
        try:
            ending = self._watched(exchange, caller.layers)
            served = ending.stage is Stage.RUN
        finally:
            box.give_back(cell, is_over=exchange.is_over, served=served)
            box.replenish()
        load_log = box.take_load_log()
        return replace(ending, log_tail=load_log + ending.log_tail) if load_log else ending

    # --- cold ------------------------------------------------------------------------------

    def _call_cold(self, caller: _Caller, request: Request) -> Ending:
        isolation = isolation_of(caller.layers, "cold")
        number = 2 * next(self._numbers)
        try:
            with (
                self._box(caller, number, slots=1) as box,
                Cell(box, protocol.THE_ZYGOTE + 1, 0) as cell,
            ):
                exchange = Exchange(
                    cell,
                    caller.interrupt,
                    caller.listener,
                    isolation,
                    program=caller.program,
                    request=request,
                )
                return self._watched(exchange, caller.layers)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the cell", str(error), error.errno)
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)

    def _box(self, caller: _Caller, number: int, *, slots: int) -> Box:
        return Box(self._spawner, caller.program, caller.limits, caller.layers, number, slots=slots)

    def _watched(self, exchange: Exchange, layers: Layers) -> Ending:
        if layers.watchdog:
            self._watchdog.add(exchange.watch)
        try:
            return exchange.run()
        finally:
            self._watchdog.remove(exchange.watch)

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
        """End all boxes, with the calls that still run in them, and the threads."""
        self._pool.close()
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
