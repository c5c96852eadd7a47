"""One resident: a box with one cell, loaded, and what is known of it between its calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Replaced
from toolrunner.sandbox.exchange.resident import ResidentExchange
from toolrunner.sandbox.input_files import InputFile
from toolrunner.sandbox.input_folders import Given
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.polling import readable
from toolrunner.sandbox.processes import memory_of
from toolrunner.sandbox.processor_time import ProcessorTime
from toolrunner.sandbox.scratch import MountedScratch
from toolrunner.sandbox.turn import Turn

_RENEW_SECONDS = 2.0
_IDLE_CPU_SECONDS = 0.2  # what it may use between two looks at it while it is idle
_IDLE_CPU_SHARE = 0.05


class ResidentProcess:
    """Serves one call at a time. Not thread-safe: who has taken it has it alone."""

    def __init__(
        self, stack: contextlib.ExitStack, cell: Cell, plugin: str, load_log: str, most_calls: int
    ) -> None:
        """``stack`` holds the box and its cell, which are taken over from it."""
        self.plugin = plugin
        self._since = time.monotonic()
        self._cell = cell
        self._load_log = load_log
        self._most_calls = most_calls
        self._renewing = False
        self._idle_since = time.monotonic()
        self._idle_cpu = 0.0
        cell.cpu = self._cpu = ProcessorTime()
        self._cpu.sample(cell.members())
        self._scratch: MountedScratch | None = None  # as it was when it was new
        self.calls = 0
        self.memory_bytes = self._memory_bytes()
        self.spent_by: Replaced | None = None  # why it serves no more
        self._stack = stack.pop_all()

    def give(self, files: Sequence[InputFile], interrupt: Interrupt) -> Given:
        """Put the files of its next turn where it finds them; ``NotGivenError`` if that fails."""
        return self._cell.box.give(self._cell.slot, files, interrupt)

    def turn(self, calls: int) -> Turn:
        """Begin a turn with so many calls: hand the cell its ends; ``OSError`` if it is gone."""
        self.calls += calls
        return Turn(self._cell)

    def spend(self, why: Replaced) -> None:
        """Let it serve no more; the first reason stays."""
        self.spent_by = self.spent_by or why

    def served(self, exchange: ResidentExchange) -> None:
        """Take note of how a call has left it."""
        self.memory_bytes = exchange.watch.memory_bytes or self.memory_bytes
        if not exchange.went_well:
            self.spend(Replaced.FAILED)
        elif len(exchange.watch.members) != 1:
            self.spend(Replaced.LEFTOVERS)
        elif self.calls >= self._most_calls:
            self.spend(Replaced.CALLS)

    def renew(self) -> bool:
        """Order a new scratch for the next call if need be; tell whether there can be one."""
        if self.spent_by is not None:
            return False
        self._idle_since = time.monotonic()
        self._cpu.look_again()
        self._idle_cpu = self._cpu.seconds()
        if self._scratch is not None and self._scratch.is_untouched():
            return True
        try:
            self._order_scratch(aside=False)
        except OSError:
            self.spend(Replaced.ENDED)
            return False
        return True

    def _order_scratch(self, *, aside: bool) -> None:
        order = {"op": "renew", "cell": self._cell.number, "aside": aside}
        self._cell.box.order(order, [])
        self._renewing = True

    def leave_load(self) -> None:
        """Have a scratch for the first call, as for any; what the load has open it keeps.

        As a lock of multiprocessing, a file without a name. Where that cannot be, as without a
        mount namespace, the first call has the scratch of the load.
        """
        if self._cell.box.scratch_is_memory:
            self._order_scratch(aside=True)
            self._is_renewed()

    def is_ready(self) -> bool:
        """Wait for the new scratch; tell whether the next call can have it."""
        if not self._is_renewed():
            self.spend(Replaced.LEFTOVERS)
        elif self._cell.is_gone():
            self.spend(Replaced.ENDED)
        return self.spent_by is None

    def _is_renewed(self) -> bool:
        deadline = time.monotonic() + _RENEW_SECONDS
        while self._renewing:
            if not readable(self._cell.status, max(0.0, deadline - time.monotonic())):
                return False
            for event in self._cell.read_status() or [{"event": "exit"}]:
                if event["event"] == "renewed":
                    self._renewing = False
                    if event["error"]:
                        return False
                    self._scratch = self._cell.mounted_scratch()
                elif event["event"] != "used":
                    self.spend(Replaced.ENDED)
                    return False
        return True

    def fault(self) -> str:
        """Return what an idle one does that no call has asked for, in words, or nothing."""
        words = self._fault()
        if words:
            self.spend(Replaced.BETWEEN_CALLS if self._cell.members() else Replaced.ENDED)
        return words

    def _fault(self) -> str:
        members = self._cell.members()
        if len(members) != 1:
            return "has processes of its own between calls" if members else "has ended"
        self.memory_bytes = self._memory_bytes()
        limit = self._cell.box.limits.memory_mb * MIB
        if self.memory_bytes > limit:
            return "takes memory between calls"
        used = self._cpu.sample(members) - self._idle_cpu
        if used > _IDLE_CPU_SECONDS + _IDLE_CPU_SHARE * self.idle_seconds:
            return "uses processor time between calls"
        return ""

    def _memory_bytes(self) -> int:
        if self._cell.group is not None:
            with contextlib.suppress(OSError):
                return self._cell.group.figures().memory_bytes
        return memory_of(self._cell.members())

    @property
    def age_seconds(self) -> float:
        """For how long it has been there."""
        return time.monotonic() - self._since

    @property
    def idle_seconds(self) -> float:
        """For how long it has served nobody."""
        return time.monotonic() - self._idle_since

    def take_load_log(self) -> str:
        """Return what the import printed, once."""
        text, self._load_log = self._load_log, ""
        return text

    def kill(self) -> None:
        """End its processes at once; whoever has it hears of that, and closes it."""
        self._cell.box.destroy()

    def close(self) -> None:
        """End it, with the call that may still run in it."""
        self._stack.close()
