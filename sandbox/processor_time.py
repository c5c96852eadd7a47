"""The processor time of a tree of processes of which some live too short to be seen."""

from __future__ import annotations

import contextlib
import time

import psutil

from toolrunner.sandbox.processes import running_seconds, times

_TICKS_SECONDS = 0.02  # the kernel's counts are of hundredths of a second, for each process


class ProcessorTime:
    """What a tree has used so far, from samples of it.

    What ends is counted by who waits for it: a process of the tree, or the warden. A tree that
    ignores SIGCHLD leaves no such count. It is found out by that: more time was seen of processes
    that are gone than anybody has counted. From then on each of them counts for all of the time
    between the two samples that it ended in.
    """

    def __init__(self) -> None:
        self._own: dict[int, float] = {}  # of those alive
        self._gone = 0.0  # seen of those that are gone
        self._gone_at_most = 0.0
        self._children = 0.0  # counted by the living
        self._counted_before = 0.0  # when this turn began
        self._sampled = time.monotonic()
        self._interval = 0.0
        self._most = 0.0
        self.reaped = 0.0  # counted by the warden

    @property
    def is_sampled(self) -> bool:
        """Whether any process has been seen."""
        return bool(self._own)

    def begin_turn(self) -> None:
        """Begin a turn of a process that goes on: what was seen before is not held against it."""
        self._gone = self._gone_at_most = 0.0
        self._counted_before = self._children + self.reaped
        self.look_again()

    def look_again(self) -> None:
        """Read those that were there in the last sample, which they are without doubt still."""
        for pid, seen in self._own.items():
            self._own[pid] = max(seen, running_seconds(pid))
        self._sampled = time.monotonic()

    def begin(self) -> None:
        """Begin a sample."""
        now = time.monotonic()
        self._sampled, self._interval = now, now - self._sampled
        self._children = 0.0

    def read(self, pid: int) -> None:
        """Read one process; ``OSError`` or ``psutil.Error`` if it has ended."""
        self._own[pid], children = times(pid)
        self._children += children

    def sample(self, members: list[int]) -> float:
        """Read all processes of the tree; return its processor time."""
        self.begin()
        for pid in members:
            with contextlib.suppress(OSError, psutil.Error):
                self.read(pid)
        self.forget(set(members))
        return self.seconds()

    def forget(self, alive: set[int]) -> None:
        """Keep of the processes that have ended only the time they used."""
        for pid in [p for p in self._own if p not in alive]:
            seen = self._own.pop(pid)
            self._gone += seen
            self._gone_at_most += max(seen, self._interval) if seen else 0.0

    def seconds(self) -> float:
        """Return the tree's processor time, at its most where some of it was hidden."""
        living, counted = sum(self._own.values()), self._children + self.reaped
        slack = _TICKS_SECONDS + _TICKS_SECONDS / 2 * len(self._own)
        before = self._counted_before
        hidden = self._gone_at_most if self._gone - (counted - before) > slack else 0.0
        self._most = max(self._most, living + counted + hidden, living + before + self._gone)
        return self._most
