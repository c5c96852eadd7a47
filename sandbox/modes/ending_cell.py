"""A cell that has only to end, until the kernel has reported that."""

from __future__ import annotations

import time

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.exchange.exchange import KILL_SECONDS
from toolrunner.sandbox.watch import Watch

_LEAVING_SECONDS = 0.02  # for _exit, which is all that is left to do
ENDING_SECONDS = _LEAVING_SECONDS + KILL_SECONDS  # after which its box is ended


class EndingCell:
    """Such a cell. Its call has been answered, or there was none."""

    def __init__(self, cell: Cell, watch: Watch | None = None) -> None:
        """``watch``: the call's. Any limit that it passes now ends the cell."""
        self.cell = cell
        self.watch = watch
        self.is_lost = False  # its box is gone
        self._is_killed = False
        # One without a call may have to be forked first.
        grace = KILL_SECONDS if watch is None else _LEAVING_SECONDS
        self._deadline = time.monotonic() + grace
        if watch is not None:
            watch.hand_over(lambda _limit: cell.order_kill())

    def is_over(self) -> bool:
        """Tell whether it has ended; end it when its time is over."""
        while events := self.cell.read_status():
            if any(event["event"] in {"exit", "failed"} for event in events):
                return True
        if events is None:
            self.is_lost = True
            return True
        now = time.monotonic()
        if now >= self._deadline:
            if self._is_killed:
                self.cell.box.destroy()
            self._is_killed = True
            self._deadline = now + KILL_SECONDS  # however late this look is
            self.cell.order_kill()
        return False
