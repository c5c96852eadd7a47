"""One call under watch: what its tree of processes uses, and which limit it passes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

from toolrunner.sandbox.ending import LimitHit
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.processes import proportional_bytes


class Watch:
    """One call under watch: its process tree and what it used at most."""

    def __init__(
        self,
        limits: Limits,
        members: Callable[[], list[int]],
        on_limit: Callable[[LimitHit], None],
        scratch_bytes: Callable[[], int],
        *,
        scratch_is_memory: bool,
    ) -> None:
        """``members`` returns the tree's process ids, ``scratch_bytes`` what its files take.

        ``scratch_is_memory``: the scratch is a tmpfs, so what it holds counts as memory.
        """
        self._limits = limits
        self._members = members
        self._on_limit = on_limit
        self._scratch_bytes = scratch_bytes
        self._scratch_is_memory = scratch_is_memory
        self._lock = threading.Lock()
        self._known: dict[int, psutil.Process] = {}
        self._cpu_of: dict[int, float] = {}
        self._reaped_cpu = 0.0
        self._cpu_base: float | None = None
        self.since = time.monotonic()
        self.peak_memory_bytes = 0
        self.peak_processes = 0
        self.cpu_seconds = 0.0

    def request_sent(self, *, fresh: bool) -> None:
        """Count processor time from here on. A ``fresh`` process has used none to speak of."""
        with self._lock:
            if not fresh:
                self._measure(self._members())
            self._cpu_base = self.cpu_seconds
            self.since = time.monotonic()

    def sample(self) -> None:
        """Measure the tree once; report the first limit that it has passed."""
        with self._lock:
            members = self._members()
            # Counting is cheap and measuring is not: a fork bomb is to be met while it is small.
            hit = self._judge_count(members) or self._judge_use(*self._measure(members))
        if hit is not None:
            self._on_limit(hit)

    def _measure(self, members: list[int]) -> tuple[int, int]:
        """Read every process of the tree; return threads and the sum of resident bytes."""
        threads = resident = 0
        live_own = live_with_children = 0.0
        for pid in members:
            try:
                process = self._known.get(pid)
                if process is None:
                    process = self._known[pid] = psutil.Process(pid)
                with process.oneshot():
                    times = process.cpu_times()
                    threads += process.num_threads()
                resident += process.memory_info().rss
            except (psutil.Error, ProcessLookupError):
                continue
            own = times.user + times.system
            self._cpu_of[pid] = own
            live_own += own
            live_with_children += own + times.children_user + times.children_system
        self._forget(set(members))
        # A tree that ignores SIGCHLD hides its dead children's time from their parents' sums;
        # what was seen of them before is then all there is.
        self.cpu_seconds = max(self.cpu_seconds, live_own + self._reaped_cpu, live_with_children)
        return threads, resident

    def _forget(self, alive: set[int]) -> None:
        """Keep of the processes that have ended only the time they used."""
        for pid in [p for p in self._known if p not in alive]:
            del self._known[pid]
            self._reaped_cpu += self._cpu_of.pop(pid, 0.0)

    def _judge_count(self, members: list[int]) -> LimitHit | None:
        self.peak_processes = max(self.peak_processes, len(members))
        if len(members) > self._limits.processes:
            return LimitHit("processes", self._limits.processes, len(members))
        return None

    def _judge_use(self, threads: int, resident: int) -> LimitHit | None:
        limits = self._limits
        scratch = self._scratch_bytes()
        memory = resident + (scratch if self._scratch_is_memory else 0)
        if memory > limits.memory_mb * MIB:
            # The cheap figure counts a page once for each process that maps it.
            memory -= resident - self._exact_bytes()
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        used_cpu = 0.0 if self._cpu_base is None else self.cpu_seconds - self._cpu_base
        for name, configured, observed in (
            ("threads", limits.threads, threads),
            ("memory_mb", limits.memory_mb, memory / MIB),
            ("scratch_mb", limits.scratch_mb, scratch / MIB),
            ("cpu_seconds", limits.cpu_seconds, used_cpu),
        ):
            if observed > configured:
                return LimitHit(name, configured, observed)
        return None

    def _exact_bytes(self) -> int:
        """Return the tree's proportional memory, with what of it is swapped out."""
        total = 0
        for process in self._known.values():
            try:
                total += proportional_bytes(process.pid)
            except PermissionError:
                # Measuring more than there is kills too early; less would never kill.
                total += process.memory_info().rss
            except (psutil.Error, OSError):
                continue
        return total
