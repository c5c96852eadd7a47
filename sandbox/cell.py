"""The parent's ends of one cell: its channel, its output, its log, its status.

A cell is ordered from its box when this object is made, for a call that is there or for one to
come. Its end is the warden's word on the status channel.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from types import TracebackType

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import Box
from toolrunner.sandbox.call_ends import CallEnds
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.processor_time import ProcessorTime
from toolrunner.sandbox.scratch import MountedScratch
from toolrunner.sandbox.spawn import MESSAGE_SOCKET


class Cell(CallEnds):
    """One ordered cell. Close it after use, by which one without a request ends; a context manager.

    ``slot`` is its place among the box's scratch folders. ``pid`` is its number inside the box,
    once it is placed. Number ``THE_ZYGOTE`` orders the zygote to load the plugin itself.
    """

    def __init__(self, box: Box, number: int, slot: int) -> None:
        """Order the cell; raise ``OSError`` when the box is gone or descriptors are."""
        super().__init__()
        self.box = box
        self.number = number
        self.slot = slot
        self.pid = 0
        self._scratch_measure = box.scratch_measure(slot)
        self._is_ours = True
        self.cpu: ProcessorTime | None = None  # of one that outlives its calls
        with (
            forks.held_off(),
            contextlib.ExitStack() as ours,
            contextlib.ExitStack() as theirs,
        ):
            ends = self._open(ours, theirs)
            self.status, status = socket.socketpair(socket.AF_UNIX, MESSAGE_SOCKET)
            theirs.enter_context(status)
            ours.enter_context(self.status)
            operation = "load" if number == protocol.THE_ZYGOTE else "cell"
            self.group, doors = box.group(number, slot)
            for door in doors:
                theirs.callback(os.close, door)
            enters = self.group is not None and (self.group.has_opened or bool(doors))
            order = {"op": operation, "cell": number, "slot": slot, "enters": enters}
            box.order(order, [*ends, status.fileno(), *doors])
            if self.group is not None and enters:
                self.group.has_opened = True
            self._stack = ours.pop_all()
            forks.in_each_child(self, Cell._let_go)

    def _let_go(self) -> None:
        super()._let_go()
        self._is_ours = False

    def check_it_is_ours(self) -> None:
        """Raise ``ForkedError`` in a fork of the process that the cell belongs to.

        What a caller hears of its call may fork.
        """
        if not self._is_ours:
            message = (
                "this process was forked in the middle of the call: its parent goes on with it"
            )
            raise forks.ForkedError(message)

    def read_status(self) -> list[dict[str, object]] | None:
        """Return what the warden has said of this cell, or ``None`` when the box is gone."""
        try:
            data = self.status.recv(protocol.CONTROL_MESSAGE_CAP, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return [json.loads(line) for line in data.splitlines()] if data else None

    def is_gone(self) -> bool:
        """Tell whether the box has ended, if all that was said before has been read."""
        try:
            return not self.status.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def let_go(self) -> None:
        """Have a cell that waits for a request end."""
        with contextlib.suppress(OSError):  # it has ended
            self.channel.shutdown(socket.SHUT_RDWR)

    def order_where(self) -> None:
        """Ask the cell to write to its errors where its plugin is."""
        with contextlib.suppress(OSError):
            self.box.order({"op": "where", "cell": self.number}, [])

    def order_kill(self) -> None:
        """Order the cell's whole group killed."""
        with contextlib.suppress(OSError):  # a box that is gone has nothing to kill
            self.box.order({"op": "kill", "cell": self.number}, [])

    def members(self) -> list[int]:
        """Return the process ids, as the host knows them, of all that runs for the call."""
        return self.box.members(self.pid) if self.pid else []

    def scratch_bytes(self) -> int:
        """Return what the cell's files take; until it is placed, others' may lie there."""
        return self._scratch_measure() if self.pid else 0

    def mounted_scratch(self) -> MountedScratch | None:
        """Return the cell's scratch as it is now, if it is a tmpfs that can be seen."""
        return self.box.mounted_scratch(self.slot)

    def __enter__(self) -> Cell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
