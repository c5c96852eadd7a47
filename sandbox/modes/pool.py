"""The warm boxes of a sandbox: which plugin has one, who makes it, when it goes.

A plugin's first call makes its box, and calls that come meanwhile wait for it. One thread closes
boxes that have become idle, too many, too large or useless; a call never waits for that.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import BoxFigures, Ending, Stage
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.modes.warm_box import PoolLimits, WarmBox
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.shortage import NoThreadError, started

_LOG = logging.getLogger("toolrunner.sandbox")

_ROUND_SECONDS = 1.0
_MEASURE_SECONDS = 5.0
_CANCEL_CHECK_SECONDS = 0.05
_MOST_FAILURES = 3

Reasons = tuple[str, ...]
Found = WarmBox | Reasons | Ending


class _Entry:
    """A plugin in the pool: being loaded, warm, or not to be warm, for reasons."""

    def __init__(self, program: Program, limits: Limits) -> None:
        self.program = program
        self.limits = limits
        self.found: Found | None = None  # None while it is loaded


class Pool:
    """All warm boxes. Thread-safe."""

    def __init__(self, sizes: PoolLimits) -> None:
        self.sizes = sizes
        self._closed = False
        self._begin()
        forks.in_each_child(self, Pool._begin)

    def _begin(self) -> None:
        self._condition = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._failures: dict[str, int] = {}  # since a call of the plugin last worked warm
        self._leaving: list[WarmBox] = []
        self._started: dict[str, int] = {}  # boxes of each plugin, ever
        self._sizes: dict[str, int] = {}  # in bytes, of the boxes when they were last measured
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def obtain(
        self,
        program: Program,
        limits: Limits,
        interrupt: Interrupt,
        load: Callable[[], Found],
    ) -> Found:
        """Return the plugin's warm box, or why it has none, or how its load failed.

        ``load`` makes the box; it runs in the thread of the first call, and the others wait.
        """
        while True:
            with self._condition:
                entry = self._current(program, limits)
                if entry is None:
                    if not self._has_room():
                        return ("there is no room for another warm box",)
                    entry = self._entries[program.name] = _Entry(program, limits)
                    break
                while entry.found is None and not interrupt.cancelled:
                    self._condition.wait(_CANCEL_CHECK_SECONDS)  # loads are rare, and long
                found = entry.found
                if found is None or (isinstance(found, Ending) and found.cancelled):
                    if interrupt.cancelled:
                        return Ending(stage=Stage.SETUP, cancelled=True)
                    continue
                if (entry.program, entry.limits) == (program, limits):
                    return found  # and not what was loaded from an older file
        return self._load(entry, load)

    def _load(self, entry: _Entry, load: Callable[[], Found]) -> Found:
        # What those who wait see if something passes here that nobody catches.
        found: Found = Ending(stage=Stage.SETUP, cancelled=True)
        try:
            found = load()
        finally:
            with self._condition:
                entry.found = found
                if isinstance(found, Ending):
                    self._remove(entry)
                elif isinstance(found, WarmBox):
                    name = entry.program.name
                    self._started[name] = self._started.get(name, 0) + 1
                    if self._closed:
                        self._remove(entry)
                    self._start_thread()
                self._condition.notify_all()
        return found

    def _current(self, program: Program, limits: Limits) -> _Entry | None:
        """Return the plugin's entry, if it is still of the same plugin and of use."""
        entry = self._entries.get(program.name)
        if entry is None:
            return None
        changed = entry.found is not None and (entry.program, entry.limits) != (program, limits)
        if changed:
            self._failures.pop(program.name, None)
        spent = isinstance(entry.found, WarmBox) and entry.found.is_retired
        if changed or spent:
            self._remove(entry)
            return None
        return entry

    def _remove(self, entry: _Entry) -> None:
        """Forget an entry; its box is closed once its last call has ended."""
        if self._entries.get(entry.program.name) is entry:
            del self._entries[entry.program.name]
            self._sizes.pop(entry.program.name, None)
        if isinstance(entry.found, WarmBox):
            entry.found.retire()
            self._leaving.append(entry.found)
            self._start_thread()

    def _warm(self) -> list[_Entry]:
        return [e for e in self._entries.values() if isinstance(e.found, WarmBox)]

    def _has_room(self) -> bool:
        """Make room for one more box; return whether there is some."""
        taken = [e for e in self._entries.values() if e.found is None or not _is_reasons(e.found)]
        if len(taken) < self.sizes.boxes:
            return True
        return bool(self._drop_longest_idle())

    def _drop_longest_idle(self) -> int:
        """Close the box that has been idle longest; return its memory in bytes, at least 1."""
        idle = [
            (entry.found.idle_seconds, entry.found, entry)
            for entry in self._warm()
            if isinstance(entry.found, WarmBox) and entry.found.is_idle
        ]
        if not idle:
            return 0
        _, box, entry = max(idle, key=lambda candidate: candidate[0])
        size = box.memory_bytes()
        self._remove(entry)
        return max(1, size)

    def figures(self) -> dict[str, BoxFigures]:
        """Return what there is to tell of the boxes of each plugin that has or had some."""
        with self._condition:
            there = {entry.program.name for entry in self._warm()}
            return {
                name: BoxFigures(int(name in there), self._sizes.get(name, 0), count)
                for name, count in self._started.items()
            }

    def discard(self, program: Program, box: WarmBox) -> None:
        """Use a box no more that takes no calls."""
        with self._condition:
            entry = self._entries.get(program.name)
            if entry is not None and entry.found is box:
                self._remove(entry)

    def failed(self, program: Program, box: WarmBox, why: str) -> None:
        """Take note that a cell ended before its call began; the box is used no more."""
        with self._condition:
            entry = self._entries.get(program.name)
            if entry is None or entry.found is not box:
                return
            failures = 1 if box.has_served else self._failures.get(program.name, 0) + 1
            self._failures[program.name] = failures
            self._remove(entry)
            if failures >= _MOST_FAILURES:
                self._settle(entry, f"its processes end before a call begins: {why}")

    def _settle(self, entry: _Entry, reason: str) -> None:
        """Run a plugin cold from now on, until its file changes."""
        cold = _Entry(entry.program, entry.limits)
        cold.found = (reason,)
        self._entries[entry.program.name] = cold
        _LOG.warning("plugin %s runs cold from now on: %s", entry.program.name, reason)

    # --- the thread ------------------------------------------------------------------------

    def _start_thread(self) -> None:
        if self._thread is None and not self._closed:
            with contextlib.suppress(NoThreadError):  # the next load or end starts it
                self._thread = started(self._keep, "toolrunner-pool")
        self._wake.set()

    def _keep(self) -> None:
        measured = 0.0
        while not self._closed:
            busy = bool(self._entries or self._leaving)
            self._wake.wait(_ROUND_SECONDS if busy else None)
            self._wake.clear()
            try:
                self._close_leaving()
                self._look_at_boxes()
                if time.monotonic() - measured > _MEASURE_SECONDS:
                    self._bound_memory()
                    measured = time.monotonic()
            except Exception:  # noqa: BLE001 - logged with its traceback
                _LOG.exception("the warm boxes could not be looked after")

    def _close_leaving(self, *, all_of_them: bool = False) -> None:
        with self._condition:
            going = [box for box in self._leaving if all_of_them or box.is_idle]
            self._leaving = [box for box in self._leaving if box not in going]
        with contextlib.ExitStack() as closing:  # what one raises leaves out none of the others
            for box in going:
                closing.callback(box.close)

    def _look_at_boxes(self) -> None:
        with self._condition:
            entries = self._warm()
        for entry in entries:
            box = entry.found
            assert isinstance(box, WarmBox)
            useless = box.is_broken or box.is_retired
            fault = "" if useless else box.fault()
            with self._condition:
                if self._entries.get(entry.program.name) is not entry:
                    continue
                if useless or fault or box.idle_seconds > self.sizes.idle_seconds:
                    self._remove(entry)
                if fault:
                    self._settle(entry, fault)
                    box.end_import()
            box.relax()

    def _bound_memory(self) -> None:
        with self._condition:
            entries = self._warm()
        boxes = [(e, e.found) for e in entries if isinstance(e.found, WarmBox)]
        sizes = {entry.program.name: box.memory_bytes() for entry, box in boxes}
        with self._condition:
            self._sizes = {name: size for name, size in sizes.items() if name in self._entries}
        over = sum(sizes.values()) - self.sizes.memory_mb * MIB
        while over > 0:
            with self._condition:
                freed = self._drop_longest_idle()
            if not freed:
                return
            over -= freed

    def close(self) -> None:
        """End all boxes, with the calls that still run in them."""
        with self._condition:
            self._closed = True
            for entry in list(self._entries.values()):
                self._remove(entry)
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._close_leaving(all_of_them=True)


def _is_reasons(found: Found) -> bool:
    return isinstance(found, tuple)
