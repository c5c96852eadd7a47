"""What all modes share: the thread that starts boxes, the watchdog, and the boxes' users."""

from __future__ import annotations

import contextlib
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import Box, cgroup_failure
from toolrunner.sandbox.box_users import BoxUsers
from toolrunner.sandbox.bytecode import AllBytecode
from toolrunner.sandbox.caches import Caches
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.cgroups.groups import Cgroups
from toolrunner.sandbox.cgroups.place import find
from toolrunner.sandbox.ending import Ending
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.input_folders import InputFolders
from toolrunner.sandbox.modes.mode import Caller
from toolrunner.sandbox.shortage import NoThreadError, submit
from toolrunner.sandbox.spawn import Spawner
from toolrunner.sandbox.watch import Watch
from toolrunner.sandbox.watchdog import Watchdog

_LOG = logging.getLogger("toolrunner.sandbox")

_CLOSERS, _MOST_UNCLOSED = 2, 8  # threads that end boxes; boxes that wait for them


def _close(box: contextlib.ExitStack) -> None:
    try:
        box.close()
    except Exception:  # noqa: BLE001 - logged with its traceback
        _LOG.exception("a box whose call has been answered could not be ended")


class Boxes:
    """Makes boxes, and watches what runs in them. Thread-safe."""

    def __init__(
        self,
        spawner: Spawner,
        caches: Caches | None = None,
        bytecode: AllBytecode | None = None,
        input_folders: InputFolders | None = None,
    ) -> None:
        """``caches``: where what imports write there is kept; ``bytecode``: what they compile.

        ``input_folders``: where the files of calls are put.
        """
        self._spawner = spawner
        self._caches = caches
        self._bytecode = bytecode
        self._input_folders = input_folders or InputFolders()
        self.watchdog = Watchdog()
        self._users = BoxUsers()
        self._begin()
        forks.in_each_child(self, Boxes._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._cgroups: Cgroups | None = None
        self._closing: ThreadPoolExecutor | None = None
        self._unclosed: list[Future[None]] = []

    def box(self, caller: Caller, *, slots: int = 1, resident: bool = False) -> Box:
        """Return a box that is not started yet.

        Raises ``SetupError`` where the cgroups that were there at first can be made no more.
        """
        self._input_folders.sweep()
        return Box(
            self._spawner,
            caller.program,
            caller.limits,
            caller.layers,
            self._users,
            slots=slots,
            resident=resident,
            cgroups=self._own_cgroups() if caller.layers.cgroup else None,
            caches=self._caches,
            bytecode=self._bytecode.of(caller.program.python) if self._bytecode else None,
            input_folders=self._input_folders,
        )

    def _own_cgroups(self) -> Cgroups:
        with self._lock:
            if self._cgroups is None:
                try:
                    self._cgroups = Cgroups(find())
                except OSError as error:
                    raise cgroup_failure(error) from error
            return self._cgroups

    def watched(self, caller: Caller, exchange: Exchange) -> Ending:
        """Run an exchange to its end, under the watchdog."""
        if caller.layers.watchdog:
            self.watchdog.add(exchange.watch)
        try:
            return exchange.run()
        finally:
            if not exchange.left:
                self.watchdog.remove(exchange.watch)

    def close_later(self, box: contextlib.ExitStack, cell: Cell, watch: Watch) -> None:
        """End a box whose call has been answered, and its watch after it."""
        watch.hand_over(lambda _limit: cell.order_kill())
        cell.order_kill()  # its box may have to wait for the end of others
        ends = contextlib.ExitStack()
        ends.callback(self.watchdog.remove, watch)
        ends.push(box)
        if not self._is_queued(ends):
            ends.close()

    def _is_queued(self, ends: contextlib.ExitStack) -> bool:
        with self._lock:
            if self._closing is None:
                self._closing = ThreadPoolExecutor(_CLOSERS, "toolrunner-closer")
            self._unclosed = [future for future in self._unclosed if not future.done()]
            if len(self._unclosed) >= _MOST_UNCLOSED:
                return False
            try:
                self._unclosed.append(submit(self._closing, partial(_close, ends)))
            except (RuntimeError, NoThreadError):  # none may be started any more, or none can
                return False
            return True

    def close(self) -> None:
        """End the threads. Boxes are ended by those who made them, before this."""
        with self._lock:
            closing = self._closing
        if closing is not None:
            closing.shutdown()
        self.watchdog.close()
        if self._bytecode is not None:
            self._bytecode.close()
        with self._lock:
            if self._cgroups is not None:
                self._cgroups.close()
