"""The sandbox as its users see it: one object, and ``call``.

Finds out what the host can isolate, refuses what it may not run, and hands each call to the mode
that takes it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.bytecode import AllBytecode
from toolrunner.sandbox.caches import Caches
from toolrunner.sandbox.ending import (
    BoxFigures,
    Ending,
    Isolation,
    ResidentFigures,
    SetupFailure,
    Stage,
    StartMode,
)
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.input_folders import InputFolders
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers, floor_gaps
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.cold import Cold
from toolrunner.sandbox.modes.mode import Caller, Mode, isolation_of, whatever_it_is
from toolrunner.sandbox.modes.resident import ResidentLimits, Residents
from toolrunner.sandbox.modes.warm import Warm
from toolrunner.sandbox.modes.warm_box import PoolLimits, WarmBox
from toolrunner.sandbox.probe import Trial, probe
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.root_host import box_uid, refusal
from toolrunner.sandbox.spawn import Spawner

DOCTOR = "run `toolrunner doctor` to see what this host can isolate and what would help"

_LOG = logging.getLogger("toolrunner.sandbox")


def lacking_words(lacking: tuple[str, ...]) -> str:
    """Return what is said of layers that a plugin requires and a host lacks; "" of none."""
    if not lacking:
        return ""
    return f"the plugin requires {', '.join(lacking)}, which this host does not have"


class Sandbox:
    """Runs programs in boxes of their own. Thread-safe; a context manager."""

    def __init__(
        self,
        *,
        degraded: bool = False,
        layers: Layers | None = None,
        python: str = "",
        pool: PoolLimits | None = None,
        residents: ResidentLimits | None = None,
        state: Path | None = None,
        threads_per_call: int = 1,
    ) -> None:
        """``degraded``: the operator's word that less than the floor will do.

        ``layers``: apply these instead of all that the host has. ``python``: the interpreter of
        the boxes, this one if empty. ``pool``: what warm boxes may take of the host, and
        ``residents`` what these may. ``state``: the folder for what makes loads fast, caches
        that imports write and modules that they compile; without one, nothing of that is kept.
        The files of calls lie there as well, for as long as these run.
        ``threads_per_call``: of each numeric library.
        """
        self._degraded = degraded
        self._given = layers
        bytecode = AllBytecode(state / "bytecode") if state is not None and not python else None
        compiled = bytecode.own.folder if bytecode is not None else ""
        self._spawner = Spawner(python, bytecode=compiled, threads_per_call=threads_per_call)
        caches = Caches(state / "caches") if state is not None else None
        self._boxes = Boxes(self._spawner, caches, bytecode, InputFolders(state))
        self._warm = Warm(self._boxes, pool or PoolLimits())
        self._residents = Residents(self._boxes, residents or ResidentLimits())
        self._cold = Cold(self._boxes)
        self._begin()
        forks.in_each_child(self, Sandbox._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        # Found out anew in a fork: it may have given up rights since.
        self._layers = self._given
        self._trials: tuple[Trial, ...] = ()

    def layers(self) -> Layers:
        """Return what confines calls here; found out once, by trying."""
        with self._lock:
            if self._layers is None:
                # The first call's launcher can start while the host is probed.
                with contextlib.suppress(OSError):  # the probe will meet it, and say it
                    self._spawner.prepare()
                host = probe(self._spawner)
                self._layers, self._trials = host.layers, host.trials
            return self._layers

    def trials(self) -> tuple[Trial, ...]:
        """Return how that was found out; nothing where the layers were given."""
        self.layers()
        return self._trials

    def isolation(self) -> Isolation:
        """Return the same as the envelope of a cold call shows it."""
        return isolation_of(self.layers(), "cold")

    def gaps(self) -> tuple[str, ...]:
        """Return what of the floor this host cannot promise, unless the operator accepts that.

        And why a plugin would run as root here, which no operator can accept.
        """
        layers = self.layers()
        refused = refusal(layers, box_uid(0))
        own = () if refused is None else (f"{refused.message}: {refused.remedy}",)
        return own if self._degraded else (*own, *floor_gaps(layers))

    def call(
        self,
        program: Program,
        limits: Limits,
        request: Request,
        *,
        interrupt: Interrupt | None = None,
        listener: Listener | None = None,
        require: tuple[str, ...] = (),
        start: StartMode = "warm",
        owner: str = "",
        on_behalf_of: str = "",
        is_sound: Callable[[bytes], bool] = whatever_it_is,
    ) -> Ending:
        """Run one call and tell how it ended; raise nothing but bugs.

        ``start``: "warm" in a cell of the program's warm box, "resident" in a process that serves
        no other ``owner``; "cold", and where that cannot be, in a box that loads the program anew.
        ``on_behalf_of``: with no other's calls it is in a batch. ``is_sound`` tells whether a
        reply's body is a result, before the process that has sent it may serve another call.
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
        caller = Caller(program, limits, interrupt, listener, layers, owner, on_behalf_of, is_sound)
        modes: dict[StartMode, Mode] = {"warm": self._warm, "resident": self._residents}
        ending = modes[start].call(caller, request) if start in modes else None
        return ending if ending is not None else self._cold.call(caller, request)

    def start(
        self, program: Program, limits: Limits, *, resident: bool = False
    ) -> tuple[str, ...] | Ending:
        """Make a program's warm box now; return why it has none (nothing if it has).

        ``resident``: load a resident instead.

        An ``Ending`` tells how loading it failed. Raises ``SetupError`` where no call can run.
        """
        layers = self.layers()
        refusal = self._refusal(layers, ())
        if refusal is not None:
            raise SetupError(refusal)
        caller = Caller(program, limits, Interrupt(), Listener(), layers)
        if resident:
            return self._residents.start(caller) or ()
        found = self._warm.box_of(caller)
        return () if isinstance(found, WarmBox) else found

    def boxes(self) -> dict[str, BoxFigures]:
        """Return what there is to tell of the warm boxes of each program, by its name."""
        return self._warm.figures()

    def residents(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of each program, by its name."""
        return self._residents.figures()

    def _refusal(self, layers: Layers, require: tuple[str, ...]) -> SetupFailure | None:
        lacking = layers.lacks(require)
        if lacking:
            words = lacking_words(lacking)
            return SetupFailure("check the required layers", words, remedy=DOCTOR)
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
        for mode in (self._residents, self._warm, self._cold):
            mode.close()
        self._boxes.close()
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
