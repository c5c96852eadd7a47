"""Watches running calls through psutil: memory, processor time, processes, threads, disk.

One thread for all calls of a sandbox. It reads /proc from outside, where nothing in a box can
reach, and reports the first limit it sees passed. It never kills: the call's own thread does.
"""

from __future__ import annotations

import logging
import threading
import time

from toolrunner.sandbox import forks
from toolrunner.sandbox.watch import Watch

_LOG = logging.getLogger("toolrunner.sandbox")

INTERVAL_SECONDS = 0.005
_FIRST_SECONDS = 0.003  # a call that is over sooner is not worth a look; the kernel limits it too
_LINGER_TICKS = 20  # without a call, before it sleeps: waking it for each call costs the call
_DUTY = 5  # sampling takes at most a fifth of one core


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
