"""One resident: a box with one cell, loaded, and what is known of it between its calls."""

from __future__ import annotations

import contextlib
import select
import time

from toolrunner.sandbox.box import memory_of
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.exchange.resident import ResidentExchange
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.processes import process_seconds
from toolrunner.sandbox.turn import Turn

_RENEW_SECONDS = 2.0
_IDLE_CPU_SECONDS = 0.2  # what it may use between two looks at it while it is idle
_IDLE_CPU_SHARE = 0.05


class ResidentProcess:
    """Serves one call at a time. Not thread-safe: who has taken it has it alone."""

    def __init__(
        self, stack: contextlib.ExitStack, cell: Cell, load_log: str, most_calls: int
    ) -> None:
        """``stack`` holds the box and its cell, which are taken over from it."""
        self._cell = cell
        self._load_log = load_log
        self._most_calls = most_calls
        self._renewing = False
        self._idle_since = time.monotonic()
        self._idle_cpu = 0.0
        self.calls = 0
        self.reaped_seconds = 0.0
        self.memory_bytes = self._memory_bytes()
        self.is_spent = False
        self._stack = stack.pop_all()

    def turn(self) -> Turn:
        """Begin a call: hand the cell the ends of it; ``OSError`` if it is gone."""
        self.calls += 1
        return Turn(self._cell)

    def served(self, exchange: ResidentExchange) -> None:
        """Take note of how a call has left it."""
        self.reaped_seconds = exchange.watch.reaped_seconds
        self.memory_bytes = exchange.watch.memory_bytes or self.memory_bytes
        left_processes = exchange.went_well and len(self._cell.members()) != 1
        if not exchange.went_well or left_processes or self.calls >= self._most_calls:
            self.is_spent = True

    def renew(self) -> bool:
        """Order a new scratch for the next call; tell whether there can be one."""
        if self.is_spent:
            return False
        try:
            self._cell.box.order({"op": "renew", "cell": self._cell.number}, [])
        except OSError:
            return False
        self._renewing = True
        self._idle_since = time.monotonic()
        self._idle_cpu = process_seconds(self._cell.members())
        return True

    def is_ready(self) -> bool:
        """Wait for the new scratch; tell whether the next call can have it."""
        deadline = time.monotonic() + _RENEW_SECONDS
        while self._renewing:
            poll = select.poll()
            poll.register(self._cell.status, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
            for event in self._cell.read_status() or [{"event": "exit"}]:
                if event["event"] == "renewed":
                    self._renewing = False
                    if event["error"]:
                        return False
                elif event["event"] != "used":
                    return False
        return not self._cell.is_gone()

    def fault(self) -> str:
        """Return what an idle one does that no call has asked for, in words, or nothing."""
        members = self._cell.members()
        if len(members) != 1:
            return "has processes of its own between calls" if members else "has ended"
        self.memory_bytes = self._memory_bytes()
        limit = self._cell.box.limits.memory_mb * MIB
        if self.memory_bytes > limit:
            return "takes memory between calls"
        used = process_seconds(members) - self._idle_cpu
        if used > _IDLE_CPU_SECONDS + _IDLE_CPU_SHARE * self.idle_seconds:
            return "uses processor time between calls"
        return ""

    def _memory_bytes(self) -> int:
        if self._cell.group is not None:
            with contextlib.suppress(OSError):
                return self._cell.group.figures().memory_bytes
        return memory_of(self._cell.members())

    @property
    def idle_seconds(self) -> float:
        """For how long it has served nobody."""
        return time.monotonic() - self._idle_since

    def take_load_log(self) -> str:
        """Return what the import printed, once."""
        text, self._load_log = self._load_log, ""
        return text

    def close(self) -> None:
        """End it, with the call that may still run in it."""
        self._stack.close()
