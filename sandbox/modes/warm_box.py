"""A warm box: the plugin is loaded in its zygote, and cells are forked from it, some ahead.

Cells are handed out in the order in which they were ordered, and are used once. A slot is one
mount point for a cell's scratch; it is used again only after the warden has said that its cell
is gone.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import socket
import threading
import time
from dataclasses import dataclass

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import Box
from toolrunner.sandbox.capture import printable
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.modes.ending_cell import ENDING_SECONDS, EndingCell
from toolrunner.sandbox.polling import readable
from toolrunner.sandbox.processes import process_seconds
from toolrunner.sandbox.watch import Watch
from toolrunner.sandbox.watchdog import Watchdog

_REST_SECONDS = 1.0
_SPARE_SLOTS = 4  # for cells whose end is not known yet
# What a zygote may use beside its import: a fork takes it about a millisecond.
_CPU_SECONDS, _CPU_SECONDS_PER_CALL = 2.0, 0.1
_MOST_CHARACTERS = 200
_MOST_LOOKS = 3
_STANDBY_CPU_SECONDS = 0.5  # more than a fork hook of a library needs


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What warm boxes may take of the host.

    ``standby``: cells that a box keeps ready, as long as no more calls come at once; 0 for none.
    ``boxes``: warm boxes at once. ``memory_mb``: of all of them, idle. ``idle_seconds``: after
    which an unused one is closed. ``calls``: after which one is replaced. ``parallel``: calls of
    one plugin at once.
    """

    standby: int = 2
    boxes: int = 32
    memory_mb: int = 2048
    idle_seconds: float = 300.0
    calls: int = 10_000
    parallel: int = 8

    @property
    def slots(self) -> int:
        """The most cells that one box has at once."""
        return self.parallel + self.most_standby + _SPARE_SLOTS

    @property
    def most_standby(self) -> int:
        """The most cells that wait for calls, when many come at once."""
        return max(self.standby, self.parallel) if self.standby else 0


class GoneError(Exception):
    """The box takes no more calls."""


def printable_words(said: str) -> str:
    """Return what code of an import may have put into its zygote's mouth, to be shown."""
    return printable(said[:_MOST_CHARACTERS])


class WarmBox:
    """One warm box. Thread-safe."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        box: Box,
        sizes: PoolLimits,
        load_log: str,
        watchdog: Watchdog,
    ) -> None:
        """``stack`` holds the started box, which is taken over from it.

        ``load_log``: what the import printed, for the first call to show. ``watchdog``: what sees
        to cells whose calls have been answered. After an ``OSError``,
        as where no descriptor is left to measure with, the box is still the stack's to end.
        """
        self._box = box
        self._sizes = sizes
        self._load_log = load_log
        self._cpu_seconds = box.imported_cpu_seconds()
        self._looks: dict[int, int] = {}  # at each process of the zygote's group
        self._condition = threading.Condition()  # notified of a slot that is free
        self._standby: collections.deque[Cell] = collections.deque()
        self._ending: list[EndingCell] = []
        self._watchdog = watchdog
        self._slots = collections.deque(set(range(sizes.slots)) - {protocol.LOADING_SLOT})
        self._numbers = itertools.count(protocol.THE_ZYGOTE + 1)
        self._target = sizes.standby
        self._retired = False
        self.has_served = False
        self._calls = 0
        self._running = 0
        self._last_used = time.monotonic()
        forks.in_each_child(self, WarmBox._let_go)
        self._stack = stack.pop_all()  # last, since nobody ends the box if something fails after it

    def _let_go(self) -> None:
        self._condition = threading.Condition()  # notified of a slot that is free
        self._retired = True
        self._standby.clear()
        self._ending.clear()
        self._stack = contextlib.ExitStack()

    def take(self) -> Cell:
        """Return the cell that has waited longest, or a new one; raise ``GoneError``."""
        with self._condition:
            if self._retired or self._calls >= self._sizes.calls:
                raise GoneError
            try:
                if self._standby:
                    cell = self._standby.popleft()
                else:
                    # Calls come faster than cells are made ready: keep more of them.
                    self._target = min(self._target + 1, self._sizes.most_standby)
                    self._condition.wait_for(self._has_cells, ENDING_SECONDS)
                    cell = self._standby.popleft() if self._standby else self._order()
            except (OSError, IndexError) as error:
                raise GoneError from error
            self._running += 1
            self._calls += 1
            return cell

    def put_back(self, cell: Cell) -> None:
        """Have a cell again that was taken and has heard of no call."""
        with self._condition:
            self._running -= 1
            self._calls -= 1
            if self._retired:
                cell.close()
            else:
                self._standby.appendleft(cell)

    def _order(self) -> Cell:
        slot = self._slots.pop()  # the one used last: what it needs has been made already
        try:
            return Cell(self._box, next(self._numbers), slot)
        except BaseException:
            self._slots.append(slot)
            raise

    def replenish(self) -> None:
        """Order as many cells as are to be kept ready."""
        with self._condition, contextlib.suppress(OSError):
            self._collect()
            while len(self._standby) < self._target and self._slots and not self._retired:
                self._standby.append(self._order())

    def fault_of_first(self, seconds: float) -> str:
        """Wait until the first cell has come to where a call begins; return why it has not, or "".

        An import can say that it is done, and go on or hang; and what it leaves open, a fork may
        have no room for.
        """
        with self._condition:
            if not self._standby:
                return ""  # none was ordered
            first = self._standby[0]
            if not readable(first.channel, seconds):
                return "its import does not come to an end, whatever it says"
            if first.channel.recv(1, socket.MSG_PEEK):
                return ""
            events = first.read_status() or []
            said = " ".join(str(event["message"]) for event in events if "message" in event)
            words = printable_words(said)
            return f"no call can be forked from it ({words or 'its first fork has ended'})"

    def give_back(self, cell: Cell, *, is_over: bool, served: bool) -> None:
        """End a call, which was ``served`` or ended before it began.

        Without the warden's word that the cell ``is_over`` the box is used no more.
        """
        cell.close()
        with self._condition:
            self._running -= 1
            self.has_served = self.has_served or served
            self._last_used = time.monotonic()
            if is_over:
                self._slots.append(cell.slot)
            else:
                self._retired = True
            self._condition.notify()

    def see_off(self, cell: Cell, watch: Watch) -> None:
        """End a call whose cell has only to end, and see that it does."""
        with self._condition:
            self.has_served = True
            self._last_used = time.monotonic()
            self._ending.append(EndingCell(cell, watch))
        self._watchdog.attend(self.collect)

    def collect(self) -> bool:
        """Take note of the cells that have ended; tell whether others are still to end.

        It never waits: who calls it has all calls to watch.
        """
        if not self._condition.acquire(blocking=False):
            return True
        try:
            self._collect()
            return bool(self._ending)
        finally:
            self._condition.release()

    def _collect(self) -> None:
        for ending in list(self._ending):
            if ending.is_over():
                self._ending.remove(ending)
                if ending.watch is not None:
                    self._watchdog.remove(ending.watch)
                    self._running -= 1
                    self._last_used = time.monotonic()
                self._slots.append(ending.cell.slot)
                self._retired = self._retired or ending.is_lost
                ending.cell.close()
                self._condition.notify()

    def _has_cells(self) -> bool:
        return bool(self._slots or self._standby or self._retired)

    def take_load_log(self) -> str:
        """Return what the import printed, once."""
        with self._condition:
            text, self._load_log = self._load_log, ""
            return text

    def retire(self) -> None:
        """Take no more calls; those that run go on."""
        with self._condition:
            self._retired = True

    def relax(self) -> None:
        """Forget a little of what was needed when calls came faster."""
        with self._condition:
            self._target = max(self._sizes.standby, self._target - 1)
            spare = self._standby.popleft() if len(self._standby) > self._target else None
            if spare is not None:
                self._ending.append(EndingCell(spare))
                spare.let_go()
            if self.idle_seconds > _REST_SECONDS:
                self._box.rest()
        if spare is not None:
            self._watchdog.attend(self.collect)

    @property
    def is_retired(self) -> bool:
        """Whether it takes no more calls."""
        return self._retired or self._calls >= self._sizes.calls

    @property
    def is_idle(self) -> bool:
        """Whether no call runs in it."""
        return self._running == 0

    @property
    def idle_seconds(self) -> float:
        """How long no call has run in it."""
        return time.monotonic() - self._last_used if self.is_idle else 0.0

    @property
    def is_broken(self) -> bool:
        """Whether it can make no more cells."""
        return not self._box.is_alive()

    def fault(self) -> str:
        """Return what its import does that goes on after it, in words, or nothing."""
        group = self._box.zygote_group()
        # A cell that is being forked is among them for a moment, however busy the host.
        self._looks = {pid: self._looks.get(pid, 0) + 1 for pid in group}
        stays = sum(looks > _MOST_LOOKS for looks in self._looks.values())
        if len(group) > self._sizes.slots or stays > 1:
            return "its import starts processes later on"
        if self._box.imported_bytes() > self._box.limits.memory_mb * MIB:
            return "its import goes on to take memory"
        with self._condition:
            standby = list(self._standby)
        if any(_works(cell) for cell in standby):
            return "its forks work before they have a call"
        used = self._box.imported_cpu_seconds() - self._cpu_seconds
        if used > _CPU_SECONDS + _CPU_SECONDS_PER_CALL * self._calls:
            return "its import goes on to use processor time"
        return ""

    def end_import(self) -> None:
        """End what makes cells, with all that its import does; calls that run go on."""
        self._box.end_zygote()

    def memory_bytes(self) -> int:
        """Return the memory of all its processes."""
        return self._box.memory_bytes()

    def close(self) -> None:
        """End everything in it."""
        with self._condition:
            self._retired = True
            for cell in self._standby:
                cell.close()
            self._standby.clear()
            self._stack.close()
            for ending in self._ending:
                if ending.watch is not None:
                    self._watchdog.remove(ending.watch)
                ending.cell.close()
            self._ending.clear()


def _works(cell: Cell) -> bool:
    """Tell whether a cell that waits for a call does something, or is more than one process."""
    members = cell.members()
    return len(members) > 1 or process_seconds(members) > _STANDBY_CPU_SECONDS
