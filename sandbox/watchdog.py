"""Watches running calls through psutil: memory, processor time, processes, threads, disk.

One thread for all calls of a sandbox. It reads /proc from outside, where nothing in a box can
reach, and reports the first limit it sees passed. It never kills: the call's own thread does.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import LimitHit
from toolrunner.sandbox.limits import MIB, Limits

_LOG = logging.getLogger("toolrunner.sandbox")

INTERVAL_SECONDS = 0.005
_FIRST_SECONDS = 0.003  # a call that is over sooner is not worth a look; the kernel limits it too
_LINGER_TICKS = 20  # without a call, before it sleeps: waking it for each call costs the call
_DUTY = 5  # sampling takes at most a fifth of one core


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


def proportional_bytes(pid: int) -> int:
    """Return Pss + SwapPss of a process, in bytes (proc_pid_smaps(5)).

    psutil's own figure leaves out swap shares; elsewhere than Linux it is all there is.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self/smaps_rollup").exists():
            raise
        return int(psutil.Process(pid).memory_info().rss)
    total = 0
    for line in text.splitlines():
        if line.startswith((b"Pss:", b"SwapPss:")):
            total += int(line.split()[1]) * 1024
    return total


@functools.cache
def kernel_lists_children() -> bool:
    """Tell whether the kernel was built to list a process's children (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children_of(pid: int) -> list[int]:
    """Return a process's children, from the kernel's own list where there is one.

    None for a process that has ended or cannot be seen. psutil looks through the whole host.
    """
    if not kernel_lists_children():
        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def tree_below(pid: int) -> list[int]:
    """Return all descendants of ``pid``."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def group_of(pid: int) -> int:
    """Return a process's group, 0 if it has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def inner_number(pid: int) -> int:
    """Return a process's number in its own pid namespace (proc_pid_status(5)), 0 if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith(b"NSpid:")), b"0")
    return int(line.split()[-1])


class Watchdog:
    """The thread. It sleeps while no call is under watch."""

    def __init__(self) -> None:
        self._closed = False
        self._begin()
        forks.in_each_child(self, Watchdog._begin)

    def _begin(self) -> None:
        self._condition = threading.Condition()
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None
        self._asleep = False

    def add(self, watch: Watch) -> None:
        """Begin to watch a call."""
        with self._condition:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="toolrunner-watchdog", daemon=True
                )
                self._thread.start()
            elif self._asleep:
                self._condition.notify()

    def remove(self, watch: Watch) -> None:
        """End watching a call."""
        with self._condition:
            self._watches.discard(watch)

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        pause = INTERVAL_SECONDS
        idle_ticks = 0
        while True:
            with self._condition:
                idle_ticks = 0 if self._watches else idle_ticks + 1
                while idle_ticks > _LINGER_TICKS and not self._watches and not self._closed:
                    self._asleep = True
                    self._condition.wait()
                    self._asleep = False
                if self._closed:
                    return
                watches = list(self._watches)
            started = time.monotonic()
            for watch in watches:
                if started - watch.since < _FIRST_SECONDS:
                    continue
                try:
                    watch.sample()
                except Exception:  # noqa: BLE001 - logged with its traceback
                    # One call that cannot be measured must not leave all others unwatched.
                    _LOG.exception("a call could not be measured; the kernel's limits remain")
            pause = max(INTERVAL_SECONDS, (time.monotonic() - started) * _DUTY)
            with self._condition:
                if not self._closed:
                    self._condition.wait(pause)
