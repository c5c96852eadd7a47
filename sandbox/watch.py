"""One call under watch: what its tree of processes uses, and which limit it passes first.

Where the call has a cgroup, the kernel's own account has all that the call has taken. Where it has
none, /proc shows what is mapped, and what no figure of it shows is added at its most.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

import psutil

from toolrunner.sandbox.cgroups.group import Figures, Group
from toolrunner.sandbox.ending import HOST_MEANS, HOST_MEMORY, LimitHit
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.processes import (
    descriptors,
    held,
    most_resident_bytes,
    proportional_bytes,
)
from toolrunner.sandbox.processor_time import ProcessorTime
from toolrunner.sandbox.unseen import FREE_BYTES, unseen_bytes

# What a slow measure may cost in processor time: twice what honest trees were seen to.
_SLOW_SECONDS, _SLOW_SECONDS_PER_GIB = 0.1, 0.03
_SLOW_WALL_SECONDS = 1.0
_SLOW_DUTY = 5  # it goes on at most a fifth of the time
_SLOW_INTERVAL_SECONDS = 0.05
_MANY_DESCRIPTORS = 48
_GROWN_BYTES = 16 * MIB
_FULL = 0.9  # of the scratch: what is refused is larger than what is left
# A call's end may take this much after its reply, which is not held against it.
_AFTER_REPLY_SECONDS, _PROCESSORS = 0.1, os.cpu_count() or 1


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
        group: Group | None = None,
        cpu: ProcessorTime | None = None,
    ) -> None:
        """``members`` returns the tree's process ids, ``scratch_bytes`` what its files take.

        ``scratch_is_memory``: the scratch is a tmpfs, so what it holds counts as memory. ``cpu``:
        what is known of a process that was there before and goes on after.
        """
        self._limits = limits
        self._members = members
        self._on_limit = on_limit
        self._scratch_bytes = scratch_bytes
        self._scratch_is_memory = scratch_is_memory
        self._group = group
        self._lock = threading.Lock()
        self._outlived = cpu is not None
        self._is_over = False
        self._cpu = cpu or ProcessorTime()
        self.members: list[int] = []  # as they were seen last
        self._cpu_base: float | None = None
        self.since = time.monotonic()
        self.due = self.since  # when the watchdog looks at it next
        self._cheap = self._hidden = self._unseen_bytes = 0
        self._exact: int | None = None
        self._exact_resident = 0
        self._slow_due = self.since + _SLOW_INTERVAL_SECONDS
        self._opened = 0  # descriptors, when they were last looked at for their number
        self._slow_ordered = False
        self._slow_begun = 0.0  # of one that goes on; 0 for none
        self._is_confined = False
        self.is_sampled = False
        self.memory_bytes = 0
        self.peak_memory_bytes = 0
        self.host_ran_out = False  # of memory, and the kernel has chosen a process of the call
        self.peak_processes = self._peak_threads = self._peak_scratch = 0
        self.cpu_seconds = 0.0

    def confined(self) -> None:
        """Look for what is hidden from here on: until now nothing that ran was the plugin's.

        A cell may be as hidden as the zygote that it was forked from, until it has shown itself.
        """
        self._is_confined = True

    def request_sent(self, *, fresh: bool) -> None:
        """Count processor time from here on. A ``fresh`` process has used none to speak of."""
        self.confined()
        with self._lock:
            if self._outlived and self._cpu.is_sampled:
                self._cpu.begin_turn()
                self._note_cpu(self._group_seconds())
            elif not fresh:
                self._measure(self._members())
                self._note_cpu(self._group_seconds())
            self._cpu_base = self.cpu_seconds
            self.since = time.monotonic()

    @property
    def call_cpu_seconds(self) -> float:
        """The processor time since the request."""
        return 0.0 if self._cpu_base is None else self.cpu_seconds - self._cpu_base

    def reaped(self, cpu_seconds: float) -> None:
        """Take in the warden's word of what the call's ended processes have used, all in all."""
        self._cpu.reaped = max(self._cpu.reaped, cpu_seconds)

    def sample(self) -> None:
        """Measure the tree once; report the first limit that it has passed."""
        with self._lock:
            if self._is_over:
                return
            members = self._members()
            # Counting is cheap and measuring is not: a fork bomb is to be met while it is small.
            hit = self._judge_count(members) or self._judge_use(members)
        if hit is not None:
            self._on_limit(hit)

    def _measure(self, members: list[int]) -> tuple[int, int, int]:
        """Read every process of the tree; return threads, resident bytes and page tables."""
        threads = resident = tables = 0
        opened = 0
        self._cpu.begin()
        for pid in members:
            try:
                self._cpu.read(pid)
                figures = held(pid)
                if self._group is None:
                    opened += descriptors(f"/proc/{pid}")
            except (psutil.Error, OSError):
                continue
            threads += figures.threads
            resident += figures.resident
            tables += figures.page_tables
        self._cpu.forget(set(members))
        if opened > self._opened + _MANY_DESCRIPTORS:
            self._opened = opened
            self._slow_due = 0.0  # what they may hold is looked at at once
        return threads, resident, tables

    def _figures(self) -> Figures | None:
        """Return the kernel's account; none of a box that is gone."""
        if self._group is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return self._group.figures()
        return None

    def _taken_back(self) -> Figures | None:
        """Return the account without what the kernel can do without; None of a box that is gone."""
        assert self._group is not None
        with contextlib.suppress(OSError, ValueError, KeyError):
            return self._group.take_back(self._limits.memory_mb * MIB)
        return None

    def _count_cpu(self, figures: Figures | None) -> float:
        """Return the processor time since the request."""
        self._note_cpu(None if figures is None else figures.cpu_seconds)
        return self.call_cpu_seconds

    def _note_cpu(self, known: float | None) -> None:
        used = self._cpu.seconds() if known is None else max(known, self._cpu.reaped)
        self.cpu_seconds = max(self.cpu_seconds, used)

    def _group_seconds(self) -> float | None:
        """Return the kernel's count of processor time alone, if there is one."""
        if self._group is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return self._group.cpu_seconds()
        return None

    def _judge_count(self, members: list[int]) -> LimitHit | None:
        self.peak_processes = max(self.peak_processes, len(members))
        if len(members) > self._limits.processes:
            return LimitHit("processes", self._limits.processes, len(members))
        return None

    def _judge_use(self, members: list[int]) -> LimitHit | None:
        limits = self._limits
        figures = self._figures()
        if figures is not None and figures.memory_bytes > limits.memory_mb * MIB:
            figures = self._taken_back() or figures
        threads, resident, tables = self._measure(members)
        scratch = self._scratch_bytes()
        self._peak_threads = max(self._peak_threads, threads)
        self._peak_scratch = max(self._peak_scratch, scratch)
        hidden = tables + (scratch if self._scratch_is_memory else 0)
        memory = self._judged_memory(len(members), resident, hidden, figures)
        self.memory_bytes = memory
        self.is_sampled = self.is_sampled or memory > 0  # it may have ended by now
        self._note_peak(memory)
        if figures is not None and figures.kills and self._is_own(figures):
            # At the kernel's ceiling, which is above the limit.
            return self._memory_hit(max(memory, self._limits.memory_mb * MIB + 1))
        used_cpu = self._count_cpu(figures)
        for name, configured, observed in (
            ("threads", limits.threads, threads),
            ("memory_mb", limits.memory_mb, memory / MIB),
            ("scratch_mb", limits.scratch_mb, scratch / MIB),
            ("cpu_seconds", limits.cpu_seconds, used_cpu),
        ):
            if observed > configured:
                return LimitHit(name, configured, observed)
        return None

    def _is_own(self, figures: Figures) -> bool:
        """Tell whether the kernel has killed at the call's own ceiling, or for want of memory."""
        self.host_ran_out = self.host_ran_out or not figures.at_ceiling
        return figures.at_ceiling

    def _memory_hit(self, observed_bytes: int) -> LimitHit:
        self._note_peak(observed_bytes)
        return LimitHit("memory_mb", self._limits.memory_mb, observed_bytes / MIB)

    def end_unmeasured(self) -> None:
        """End the call since nobody can tell what it uses, for what is its own doing."""
        self._on_limit(self._memory_hit(max(self.memory_bytes, self._limits.memory_mb * MIB + 1)))

    def end_for_want(self) -> None:
        """End the call since the host has nothing left to measure it with."""
        self._on_limit(LimitHit(HOST_MEANS, 0, 0))

    def end_for_host(self, reserve_bytes: int, available_bytes: int) -> None:
        """End the call although it has passed no limit: the host has too little memory left."""
        hit = LimitHit(HOST_MEMORY, reserve_bytes / MIB, available_bytes / MIB)
        self._on_limit(hit)

    def look_closely(self, scratch_bytes: Callable[[], int]) -> None:
        """Take in what there is now, between two samples, of files and of processes.

        ``scratch_bytes`` remembers nothing of before.
        """
        members = self._members()
        threads = 0
        for pid in members:
            with contextlib.suppress(OSError):
                threads += held(pid).threads
        scratch = scratch_bytes()
        with self._lock:
            self.peak_processes = max(self.peak_processes, len(members))
            self._peak_threads = max(self._peak_threads, threads)
            self._peak_scratch = max(self._peak_scratch, scratch)

    def reached(self) -> frozenset[str]:
        """Return which limits were come up to that the kernel enforces by a refusal.

        It refuses forks for the number of processes and threads together.
        """
        limits = self._limits
        found = set()
        if self._peak_scratch >= _FULL * limits.scratch_mb * MIB:
            found.add("scratch_mb")
        if self.peak_processes >= limits.processes or self._peak_threads >= limits.threads:
            found.add("processes")
        return frozenset(found)

    # --- memory that is slow to measure ----------------------------------------------------

    def _judged_memory(
        self, processes: int, resident: int, hidden: int, figures: Figures | None
    ) -> int:
        """Return what to hold against the limit, in bytes.

        The cheap figure counts a page once for each process that maps it. Once it is past the
        limit the kernel's account decides, with what the tree shares with the import; or the exact
        figure of the slow measure.
        """
        limit = self._limits.memory_mb * MIB
        if figures is not None:
            assert self._group is not None
            cheap, own = resident + hidden, figures.memory_bytes
            alone = processes == 1 and cheap <= limit
            return max(own, cheap if alone else min(cheap, own + self._group.inherited_bytes))
        hidden += self._unseen_bytes
        self._cheap, self._hidden = resident + hidden, hidden
        # Of one process it is exact: what is shared is shared with the import, and held with it.
        if self._cheap <= limit or hidden > limit or processes == 1:
            self._exact = None
            return self._cheap
        if self._slow_begun and time.monotonic() - self._slow_begun > _SLOW_WALL_SECONDS:
            return self._cheap  # it cannot be measured, which is its own fault
        if self._exact is None:
            return min(limit, self.memory_bytes)
        if resident > self._exact_resident + _GROWN_BYTES:
            self._slow_due = 0.0  # by pages of its own or by forks that share them: look again
        return self._exact + hidden

    @property
    def may_be_slow(self) -> bool:
        """Whether it may come to want a slow measure."""
        return self._group is None

    def wants_slow_measure(self) -> bool:
        """Tell whether ``measure_slowly`` is to be called, which then is under way."""
        if self._group is not None or self._slow_ordered or not self._is_confined:
            return False
        if time.monotonic() < self._slow_due:
            return False
        self._slow_ordered = True
        return True

    def measure_slowly(self) -> None:
        """Read what takes long, in a thread of its own; report the limit if it has been passed.

        What the kernel holds unseen is looked at now and then, proportional memory only when the
        cheap figure is past the limit. A tree that takes more processor time to measure than an
        honest one of its size is taken at its most.
        """
        limit = self._limits.memory_mb * MIB
        self._slow_begun = began = time.monotonic()
        most = _SLOW_SECONDS + _SLOW_SECONDS_PER_GIB * self._cheap / (1 << 30)
        end = time.thread_time() + most

        def left() -> float:
            return end - time.thread_time()

        members = self._members()
        resident = self._cheap - self._hidden
        unseen = unseen_bytes(members, left, self._tell_unseen)
        exact = self._exact_bytes(members, left) if self._cheap > limit else None
        with self._lock:
            self._unseen_bytes = max(0, unseen - FREE_BYTES)
            self._exact, self._exact_resident = exact, resident
            now = time.monotonic()
            pause = 0.0 if exact is not None else _SLOW_INTERVAL_SECONDS
            self._slow_due = now + max(pause, (now - began) * _SLOW_DUTY)
            self._slow_begun, self._slow_ordered = 0.0, False
            memory = self._unseen_bytes + (self._cheap - self._hidden if exact is None else exact)
            if left() < 0:
                memory = max(memory, self._cheap, limit + 1)
            if exact is not None or left() < 0:
                self._note_peak(memory)
        if memory > limit and (exact is not None or left() < 0):
            self._on_limit(self._memory_hit(memory))

    def _tell_unseen(self, found_bytes: int) -> None:
        """Take in what has been found so far: the next sample judges it."""
        self._unseen_bytes = max(self._unseen_bytes, found_bytes - FREE_BYTES)

    def _exact_bytes(self, members: list[int], left: Callable[[], float]) -> int:
        """Return the tree's proportional memory, with what of it is swapped out."""
        total = 0
        for pid in members:
            try:
                total += proportional_bytes(pid)
            except PermissionError:
                # Measuring more than there is kills too early; less would never kill.
                with contextlib.suppress(OSError):
                    total += held(pid).resident
            except (psutil.Error, OSError):
                continue
            if left() < 0:
                break
        return total

    # --- at the end ------------------------------------------------------------------------

    def ended(self, cpu_seconds: float, *, unexplained: bool, replied: bool) -> LimitHit | None:
        """Take in the warden's last word; return the limit that was passed between two samples.

        ``unexplained``: its first process got a SIGKILL that was not ours. One that gives up much
        memory is long about its end, and may be met by ours on top of the kernel's: without a
        reply, the kernel's counts.
        """
        limits = self._limits
        self.reaped(cpu_seconds)
        figures = None
        if self._group is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                figures = self._group.last_figures()
                self._note_peak(self._with_import(figures.memory_bytes))
        self._cpu.forget(set())  # the warden's sum has them now
        used = self._count_cpu(figures)
        if (unexplained or not replied) and figures is not None and figures.kills:
            if not self._is_own(figures):
                return None
            return self._memory_hit(max(self.peak_memory_bytes, limits.memory_mb * MIB + 1))
        if used > limits.cpu_seconds + (0 if unexplained else _AFTER_REPLY_SECONDS * _PROCESSORS):
            return LimitHit("cpu_seconds", limits.cpu_seconds, used)
        return None

    def is_alone(self) -> bool:
        """Tell whether the call is one process, and that one there still."""
        processes = 0
        if self._group is None:
            self.members = self._members()
            processes = len(self.members)
        else:
            with contextlib.suppress(OSError, ValueError):
                processes = self._group.processes()
        self.peak_processes = max(self.peak_processes, processes)
        return processes == 1

    def answered(self) -> LimitHit | None:
        """Measure once more a lone process that has only to end; return the limit it has passed."""
        with self._lock:
            if self._group is None:
                hit = self._judge_use(self.members)
                self._note_peak(most_resident_bytes(self.members[0]))
                return hit
            known = None
            with contextlib.suppress(OSError, ValueError, KeyError):
                own = self._group.peak_bytes()
                self._note_peak(self._with_import(own) if own else self._most_resident())
                known = self._group.cpu_seconds()
            if known is None:
                self._cpu.sample(self._members())
            self._note_cpu(known)
            if self.call_cpu_seconds > self._limits.cpu_seconds:
                return LimitHit("cpu_seconds", self._limits.cpu_seconds, self.call_cpu_seconds)
            return None

    def _with_import(self, own_bytes: int) -> int:
        """Return what was held at most, of what the call itself was charged for at most.

        Pages of the import that it has copied are in both: they bring no call past its limit.
        """
        assert self._group is not None
        limit = self._limits.memory_mb * MIB
        return max(own_bytes, min(limit, own_bytes + self._group.inherited_bytes))

    def _most_resident(self) -> int:
        """Return the same from /proc, where the kernel knows no peak of a cgroup's."""
        return max(map(most_resident_bytes, self._members()), default=0)

    def hand_over(self, on_limit: Callable[[LimitHit], None]) -> None:
        """Report limits to somebody else from here on: the call is over."""
        self._on_limit = on_limit

    def _note_peak(self, memory_bytes: int) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory_bytes)

    def turn_ended(self) -> LimitHit | None:
        """Measure once more a process that goes on; return the limit that was passed meanwhile."""
        with self._lock:
            self.members = self._members()
            hit = self._judge_use(self.members)
            self._is_over = True  # what is known of the process is the next turn's from here on
            return hit
