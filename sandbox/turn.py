"""The parent's ends of one call in a resident cell: a channel, an output and a log of its own.

What the cell itself has, its status, its processes, its scratch, is the same for all of its calls.
"""

from __future__ import annotations

import contextlib
import socket

from toolrunner.sandbox import forks
from toolrunner.sandbox.call_ends import CallEnds
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.inside import protocol


class Turn(CallEnds):
    """One call's place in a resident. Close it after the call."""

    def __init__(self, cell: Cell) -> None:
        """Hand the ends over; raise ``OSError`` when the cell is gone or descriptors are."""
        super().__init__()
        self._cell = cell
        self.box, self.status, self.group = cell.box, cell.status, cell.group
        self.slot = cell.slot
        self.cpu = cell.cpu
        self.scratch_bytes = cell.box.scratch_measure(cell.slot)  # what the call's files take
        with (
            forks.held_off(),
            contextlib.ExitStack() as ours,
            contextlib.ExitStack() as theirs,
        ):
            ends = self._open(ours, theirs)
            socket.send_fds(cell.channel, [protocol.TURN], ends)
            self._stack = ours.pop_all()
            forks.in_each_child(self, Turn._let_go)

    @property
    def pid(self) -> int:
        """The cell's number inside the box."""
        return self._cell.pid

    @pid.setter
    def pid(self, number: int) -> None:
        self._cell.pid = number

    def check_it_is_ours(self) -> None:
        """Raise ``ForkedError`` in a fork of the process that the cell belongs to."""
        self._cell.check_it_is_ours()

    def read_status(self) -> list[dict[str, object]] | None:
        """Return what the warden has said of the cell, or ``None`` when the box is gone."""
        return self._cell.read_status()

    def is_gone(self) -> bool:
        """Tell whether the box has ended."""
        return self._cell.is_gone()

    def order_where(self) -> None:
        """Ask the cell to write to its errors where its plugin is."""
        self._cell.order_where()

    def order_kill(self) -> None:
        """Order the cell's whole group killed."""
        self._cell.order_kill()

    def members(self) -> list[int]:
        """Return the processes of the cell, as the host knows them."""
        return self._cell.members()
