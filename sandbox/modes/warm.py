"""Warm: each call in a cell forked of the loaded plugin, in a box that serves many calls."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import BoxFigures, Ending, SetupFailure, Stage
from toolrunner.sandbox.exchange.load import LoadExchange
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.exchange.warm import WARM_SECONDS, WarmExchange
from toolrunner.sandbox.input_folders import NotGivenError
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.layers import warm_gaps
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.mode import Caller, isolation_of
from toolrunner.sandbox.modes.pool import Found, Pool
from toolrunner.sandbox.modes.warm_box import GoneError, PoolLimits, WarmBox, printable_words
from toolrunner.sandbox.shortage import remedy_of

_TRIES = 2  # a box may have gone, or been used up, since it was found


class Warm:
    """Runs warm calls. Thread-safe."""

    def __init__(self, boxes: Boxes, limits: PoolLimits) -> None:
        self._boxes = boxes
        self._pool = Pool(limits)

    def figures(self) -> dict[str, BoxFigures]:
        """Return what there is to tell of the boxes of each program, by its name."""
        return self._pool.figures()

    def box_of(self, caller: Caller) -> Found:
        """Return the program's warm box, or why it has none, or how its load failed."""
        return warm_gaps(caller.layers) or self._pool.obtain(
            caller.program, caller.limits, caller.interrupt, lambda: self._load(caller)
        )

    def _load(self, caller: Caller) -> Found:
        """Start a box and load the program in its zygote."""
        sizes = self._pool.sizes
        isolation = isolation_of(caller.layers, "warm")
        try:
            with contextlib.ExitStack() as stack:
                box = stack.enter_context(self._boxes.box(caller, slots=sizes.slots))
                with Cell(box, protocol.THE_ZYGOTE, protocol.LOADING_SLOT) as cell:
                    exchange = LoadExchange(
                        cell, caller.interrupt, caller.listener, isolation, caller.program
                    )
                    ending = self._boxes.watched(caller, exchange)
                    if not exchange.loaded:
                        return ending
                    reasons = tuple(box.inspect())
                if reasons:
                    return reasons
                warm = WarmBox(stack, box, sizes, ending.log_tail, self._boxes.watchdog)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the load", str(error), error.errno, remedy_of(error))
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)
        with contextlib.ExitStack() as unused:
            unused.callback(warm.close)
            warm.replenish()
            fault = warm.fault_of_first(min(WARM_SECONDS, caller.limits.load_seconds / 2))
            if fault:
                return (fault,)
            unused.pop_all()
        return warm

    def call(self, caller: Caller, request: Request) -> Ending | None:
        """Run a call in the program's warm box; ``None`` when it can have none.

        Nothing of the request has been sent then.
        """
        for _ in range(_TRIES):
            found = self.box_of(caller)
            if isinstance(found, Ending):
                return found
            if not isinstance(found, WarmBox):
                return None
            try:
                cell = found.take()
            except GoneError:
                self._pool.discard(caller.program, found)
                continue
            try:
                ending = self._call_in(found, cell, caller, request)
            except NotGivenError as error:
                return replace(error.ending, isolation=isolation_of(caller.layers, "warm"))
            if ending.stage is not Stage.SETUP or ending.cancelled:
                return ending
            self._pool.failed(caller.program, found, _why(ending))
        return None

    def _call_in(self, box: WarmBox, cell: Cell, caller: Caller, request: Request) -> Ending:
        """Run a call in a cell; ``NotGivenError`` if its files could not be put there."""
        isolation = isolation_of(caller.layers, "warm")
        try:
            given = cell.box.give(cell.slot, request.files or (), caller.interrupt)
        except BaseException:
            box.put_back(cell)
            raise
        exchange = WarmExchange(
            cell,
            caller.interrupt,
            caller.listener,
            isolation,
            request=replace(request, folder=given.folder),
            on_sent=box.replenish,
            may_leave=caller.layers.watchdog,
        )
        served = False
        try:
            with contextlib.closing(given):
                ending = self._boxes.watched(caller, exchange)
            served = ending.stage is Stage.RUN
        finally:
            if exchange.left:
                box.see_off(cell, exchange.watch)
            else:
                box.give_back(cell, is_over=exchange.is_over, served=served)
        load_log = box.take_load_log()
        return replace(ending, log_tail=load_log + ending.log_tail) if load_log else ending

    def close(self) -> None:
        """End all warm boxes, with the calls that still run in them."""
        self._pool.close()


def _why(ending: Ending) -> str:
    """Return how a cell ended that never came to its call."""
    if ending.setup is not None:
        return printable_words(f"{ending.setup.operation}: {ending.setup.message}")
    return ending.signal or f"exit code {ending.exit_code}"
