"""Cold: a box for each call, in which its one cell loads the plugin. It takes every call."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Ending, SetupFailure, Stage
from toolrunner.sandbox.exchange.cold import ColdExchange
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.input_folders import NotGivenError
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.mode import Caller, isolation_of
from toolrunner.sandbox.shortage import remedy_of


class Cold:
    """Runs cold calls. Thread-safe."""

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes

    def call(self, caller: Caller, request: Request) -> Ending:
        """Run one call and tell how it ended."""
        isolation = isolation_of(caller.layers, "cold")
        try:
            with contextlib.ExitStack() as stack:
                box = stack.enter_context(self._boxes.box(caller))
                cell = stack.enter_context(Cell(box, protocol.THE_ZYGOTE + 1, 0))
                given = box.give(cell.slot, request.files or (), caller.interrupt)
                exchange = ColdExchange(
                    cell,
                    caller.interrupt,
                    caller.listener,
                    isolation,
                    program=caller.program,
                    request=replace(request, folder=given.folder),
                    may_leave=caller.layers.watchdog,
                )
                try:
                    with contextlib.closing(given):
                        return self._boxes.watched(caller, exchange)
                finally:
                    if exchange.left:
                        self._boxes.close_later(stack.pop_all(), cell, exchange.watch)
        except NotGivenError as error:
            return replace(error.ending, isolation=isolation)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the cell", str(error), error.errno, remedy_of(error))
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)

    def close(self) -> None:
        """Do nothing: a box goes with its call."""
