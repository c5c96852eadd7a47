"""Watches running calls through psutil: memory, processor time, processes, threads, disk.

One thread for all calls of a sandbox. It reads /proc from outside, where nothing in a box can
reach, and reports the first limit it sees passed. It never kills: the call's own thread does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from toolrunner.sandbox import forks
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.processes import available_bytes
from toolrunner.sandbox.shortage import is_shortage, is_thread_refused, started, submit, told
from toolrunner.sandbox.watch import Watch

_LOG = logging.getLogger("toolrunner.sandbox")

INTERVAL_SECONDS = 0.005
_FIRST_SECONDS = 0.003  # a call that is over sooner is not worth a look; the kernel limits it too
_LINGER_TICKS = 20  # without a call, before it sleeps: waking it for each call costs the call
_DUTY = 5  # sampling takes at most a fifth of one core
_MOST_PAUSE_SECONDS = 0.05  # however long one round has taken
_LONG_SECONDS = 0.002
_MEASURERS = 8  # threads for what takes long
_HOST_SECONDS = 0.05
HOST_RESERVE_BYTES = 64 * MIB  # of memory that the host can still give


class Watchdog:
    """The thread. It sleeps while no call is under watch."""

    def __init__(self) -> None:
        self._closed = False
        self._begin()
        forks.in_each_child(self, Watchdog._begin)

    def _begin(self) -> None:
        self._condition = threading.Condition()
        self._watches: set[Watch] = set()
        self._chores: set[Callable[[], bool]] = set()
        self._thread: threading.Thread | None = None
        self._asleep = False
        self._measurers: ThreadPoolExecutor | None = None

    def add(self, watch: Watch) -> None:
        """Begin to watch a call; raise NoThreadError if nothing can, and so it may not run."""
        with self._condition:
            if watch.may_be_slow:
                self._ready_measurer()
            self._wake()
            self._watches.add(watch)

    def attend(self, chore: Callable[[], bool]) -> None:
        """Do this in each round from here on, until it says that nothing is left to do."""
        with self._condition:
            self._chores.add(chore)
            self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = started(self._run, "toolrunner-watchdog")
        elif self._asleep:
            self._condition.notify()

    def _ready_measurer(self) -> None:
        """Have one thread for what takes long before it is needed: then there may be none left."""
        if self._measurers is None and not self._closed:
            measurers = ThreadPoolExecutor(_MEASURERS, "toolrunner-measurer")
            submit(measurers, _begin_measurer)
            self._measurers = measurers

    def remove(self, watch: Watch) -> None:
        """End watching a call."""
        with self._condition:
            self._watches.discard(watch)

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread, measurers = self._thread, self._measurers
        if thread is not None:
            thread.join()
        if measurers is not None:
            measurers.shutdown()

    def _run(self) -> None:
        idle_ticks = 0
        looked_at_host = 0.0
        while True:
            with self._condition:
                idle_ticks = 0 if self._watches or self._chores else idle_ticks + 1
                while idle_ticks > _LINGER_TICKS and not self._has_work():
                    self._asleep = True
                    self._condition.wait()
                    self._asleep = False
                if self._closed:
                    return
                watches = list(self._watches)
                chores, self._chores = self._chores, set()
            started = time.monotonic()
            for watch in watches:
                if started >= watch.due and started - watch.since >= _FIRST_SECONDS:
                    self._look(watch)
            for chore in chores:
                if self._is_left(chore):
                    self.attend(chore)
            if started - looked_at_host > _HOST_SECONDS:
                looked_at_host = started
                _relieve_host(watches)
            took = time.monotonic() - started
            pause = min(_MOST_PAUSE_SECONDS, max(INTERVAL_SECONDS, took * _DUTY))
            with self._condition:
                if not self._closed:
                    self._condition.wait(pause)

    def _has_work(self) -> bool:
        return bool(self._watches or self._chores or self._closed)

    def _is_left(self, chore: Callable[[], bool]) -> bool:
        """Do it; tell whether there is more to do."""
        try:
            return chore()
        except Exception:  # noqa: BLE001 - logged with its traceback
            _LOG.exception("a call that is over could not be seen to its end; it is tried again")
            return True

    def _look(self, watch: Watch) -> None:
        """Look at one call. One that takes long is looked at less often, and holds up no other."""
        started = time.monotonic()
        try:
            watch.sample()
            if watch.wants_slow_measure():
                self._slowly(watch)
        except Exception as error:  # noqa: BLE001 - logged
            # One call that cannot be measured leaves no other unwatched, nor itself.
            _end_unmeasured(watch, error)
        took = time.monotonic() - started
        watch.due = started if took < _LONG_SECONDS else time.monotonic() + took * _DUTY

    def _slowly(self, watch: Watch) -> None:
        with self._condition:
            if self._closed or self._measurers is None:
                return
            try:
                self._measurers.submit(_measure_slowly, watch)
            except RuntimeError as error:
                # It is in the pool's queue all the same, and the threads that there are take it.
                if not is_thread_refused(error):
                    raise


def _begin_measurer() -> None:
    """Do nothing, in a thread that is there from then on."""


def _measure_slowly(watch: Watch) -> None:
    try:
        watch.measure_slowly()
    except Exception as error:  # noqa: BLE001 - logged
        if is_shortage(error):
            _end_unmeasured(watch, error)
            return
        _LOG.exception("a call's memory could not be measured exactly; the kernel's limits remain")


def _end_unmeasured(watch: Watch, error: Exception) -> None:
    """End a call of which nobody can tell what it uses, and say whose fault that is."""
    if is_shortage(error):
        _LOG.warning("a call is ended, as the host has nothing to measure it with: %s", told(error))
        watch.end_for_want()
    else:
        _LOG.error("a call could not be measured, and is ended", exc_info=error)
        watch.end_unmeasured()


def _relieve_host(watches: list[Watch]) -> None:
    """End the largest call before the kernel ends something else, when the host has no memory.

    The last line: no limit has been passed, but nobody can go on.
    """
    available = available_bytes()
    if watches and available is not None and available < HOST_RESERVE_BYTES:
        largest = max(watches, key=lambda watch: watch.memory_bytes)
        _LOG.warning(
            "the host has %d MiB of memory left: the largest call, of %d MiB, is ended",
            available // MIB,
            largest.memory_bytes // MIB,
        )
        largest.end_for_host(HOST_RESERVE_BYTES, available)
