"""Resident: one process loads the plugin, and serves one call after the other.

For plugins that cannot be forked. What a process keeps between calls (memory, threads, open
files) the next one finds; so only the operator can allow it, and whatever fails in one ends it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, replace

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Ending, SetupFailure, Stage
from toolrunner.sandbox.exchange.load import LoadExchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.exchange.resident import ResidentExchange
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.mode import Caller, isolation_of
from toolrunner.sandbox.modes.resident_process import ResidentProcess

_LOG = logging.getLogger("toolrunner.sandbox")

_ROUND_SECONDS = 1.0
_CANCEL_CHECK_SECONDS = 0.05
_TRIES = 3
_NEARLY = 0.9  # of the calls that a resident serves, after which the next one is loaded


@dataclass(frozen=True, slots=True)
class ResidentLimits:
    """What residents may take of the host.

    ``each``: residents of one plugin (and owner) at once. ``all``: residents at once.
    ``memory_mb``: of all of them, idle ones being closed beyond it. ``calls``: after which one is
    replaced. ``idle_seconds``: after which an unused one is closed.
    """

    each: int = 2
    all: int = 32
    memory_mb: int = 4096
    calls: int = 10_000
    idle_seconds: float = 300.0


class _Team:
    """The residents of one plugin and owner."""

    def __init__(self, caller: Caller) -> None:
        self.caller = replace(caller, interrupt=Interrupt(), listener=Listener())
        self.idle: list[ResidentProcess] = []
        self.busy = 0
        self.loading = 0
        self.wanted = 0  # as many are to be made ready
        self.is_left = False  # its files or limits have changed

    @property
    def count(self) -> int:
        """How many there are, or will be."""
        return len(self.idle) + self.busy + self.loading


class Residents:
    """Runs calls in residents. Thread-safe."""

    def __init__(self, boxes: Boxes, limits: ResidentLimits) -> None:
        self._boxes = boxes
        self._limits = limits
        self._closed = False
        self._begin()
        forks.in_each_child(self, Residents._begin)

    def _begin(self) -> None:
        self._condition = threading.Condition()
        self._teams: dict[tuple[str, str], _Team] = {}
        self._serving: set[ResidentProcess] = set()
        self._leaving: list[ResidentProcess] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # --- a call ----------------------------------------------------------------------------

    def call(self, caller: Caller, request: Request) -> Ending | None:
        """Run one call and tell how it ended; ``None`` when its processes end by themselves."""
        for _ in range(_TRIES):
            found = self._take(caller)
            if isinstance(found, Ending):
                return found
            team, resident = found
            ending = None
            try:
                ending = self._call_in(resident, caller, request)
            finally:
                self._give_back(team, resident, failed=ending is None)
            if ending is not None:
                return ending
            # It had ended while it was idle: nothing of the request was sent.
        return None

    def start(self, caller: Caller) -> Ending | None:
        """Load a resident now, if there is none; return how loading it failed, or ``None``."""
        found = self._take(caller)
        if isinstance(found, Ending):
            return found
        self._give_back(*found, failed=False)
        return None

    def _call_in(
        self, resident: ResidentProcess, caller: Caller, request: Request
    ) -> Ending | None:
        isolation = isolation_of(caller.layers, "resident")
        try:
            turn = resident.turn()
        except OSError:
            resident.is_spent = True
            return None
        with contextlib.closing(turn):
            exchange = ResidentExchange(
                turn, caller.interrupt, caller.listener, isolation, request=request
            )
            exchange.watch.reaped(resident.reaped_seconds)
            ending = self._boxes.watched(caller, exchange)
            resident.served(exchange)
        if ending.stage is Stage.SETUP and not ending.cancelled:
            return None
        load_log = resident.take_load_log()
        return replace(ending, log_tail=load_log + ending.log_tail) if load_log else ending

    def _take(self, caller: Caller) -> tuple[_Team, ResidentProcess] | Ending:
        """Return a resident that is free, or a new one; wait when there can be no more."""
        while True:
            with self._condition:
                team = self._team(caller)
                while team.idle:
                    resident = team.idle.pop()  # the one used last: its memory is warm
                    if resident.is_ready():
                        team.busy += 1
                        self._serving.add(resident)
                        return team, resident
                    self._leave(resident)
                if caller.interrupt.cancelled:
                    return Ending(stage=Stage.SETUP, cancelled=True)
                if team.count >= self._limits.each or not self._has_room(team):
                    self._condition.wait(_CANCEL_CHECK_SECONDS)
                    continue
                team.loading += 1
            loaded = self._load(team, caller)
            if isinstance(loaded, Ending):
                return loaded
            with self._condition:
                team.busy += 1
                self._serving.add(loaded)
            return team, loaded

    def _team(self, caller: Caller) -> _Team:
        key = (caller.program.name, caller.owner)
        team = self._teams.get(key)
        same = team is not None and (team.caller.program, team.caller.limits) == (
            caller.program,
            caller.limits,
        )
        if team is None or not same:
            if team is not None:
                self._disband(key, team)
            team = self._teams[key] = _Team(caller)
        return team

    def _disband(self, key: tuple[str, str], team: _Team) -> None:
        """Let the residents of a team go; those that serve end with their call."""
        team.is_left = True
        if self._teams.get(key) is team:
            del self._teams[key]
        for resident in team.idle:
            self._leave(resident)
        team.idle.clear()

    def _has_room(self, wanting: _Team) -> bool:
        """Tell whether there may be one more; an idle one of another team makes room."""
        if sum(team.count for team in self._teams.values()) < self._limits.all:
            return True
        others = [team for team in self._teams.values() if team is not wanting and team.idle]
        if not others:
            return False
        team = max(others, key=lambda team: team.idle[0].idle_seconds)
        self._leave(team.idle.pop(0))
        return True

    def _load(self, team: _Team, caller: Caller) -> ResidentProcess | Ending:
        """Load a resident in this thread; the team has counted it as loading."""
        try:
            return self._started(caller)
        finally:
            with self._condition:
                team.loading -= 1
                self._start_thread()
                self._condition.notify_all()

    def _started(self, caller: Caller) -> ResidentProcess | Ending:
        isolation = isolation_of(caller.layers, "resident")
        try:
            with contextlib.ExitStack() as stack:
                box = stack.enter_context(self._boxes.box(caller, resident=True))
                cell = stack.enter_context(Cell(box, protocol.THE_ZYGOTE + 1, 0))
                exchange = LoadExchange(
                    cell,
                    caller.interrupt,
                    caller.listener,
                    isolation,
                    caller.program,
                    resident=True,
                )
                ending = self._boxes.watched(caller, exchange)
                if not exchange.loaded:
                    return ending
                return ResidentProcess(stack, cell, ending.log_tail, self._limits.calls)
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the resident", str(error), error.errno)
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)

    def _give_back(self, team: _Team, resident: ResidentProcess, *, failed: bool) -> None:
        usable = not failed and resident.renew()
        with self._condition:
            team.busy -= 1
            self._serving.discard(resident)
            is_old = resident.calls >= _NEARLY * self._limits.calls
            if usable and not (is_old and team.idle) and not team.is_left and not self._closed:
                team.idle.append(resident)
            else:
                self._leave(resident)
            # The next one loads while this one serves, or at once when it has failed.
            if (is_old or not usable) and resident.calls:
                team.wanted = self._limits.each + usable
                self._wake.set()
            self._condition.notify_all()
            is_closed = self._closed
        if is_closed:
            self._close_leaving()  # there is no thread any more that would

    def _leave(self, resident: ResidentProcess) -> None:
        self._leaving.append(resident)
        self._wake.set()

    # --- the thread ------------------------------------------------------------------------

    def _start_thread(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(
                target=self._keep, name="toolrunner-residents", daemon=True
            )
            self._thread.start()

    def _keep(self) -> None:
        while not self._closed:
            self._wake.wait(_ROUND_SECONDS)
            self._wake.clear()
            try:
                self._close_leaving()
                self._look_at_idle()
                self._load_wanted()
            except Exception:  # noqa: BLE001 - logged with its traceback
                _LOG.exception("the residents could not be looked after")

    def _close_leaving(self) -> None:
        with self._condition:
            going, self._leaving = self._leaving, []
        with contextlib.ExitStack() as closing:  # what one raises leaves out none of the others
            for resident in going:
                closing.callback(resident.close)

    def _look_at_idle(self) -> None:
        """Let those go that are idle for long, do something between calls, or take too much."""
        with self._condition:
            idle = [(team, resident) for team in self._teams.values() for resident in team.idle]
        for team, resident in idle:
            self._look_at(team, resident)
        with self._condition:
            for key in [key for key, team in self._teams.items() if not team.count]:
                del self._teams[key]
            over = self._memory_bytes() - self._limits.memory_mb * MIB
            idle = [(team, r) for team in self._teams.values() for r in team.idle]
            for team, resident in sorted(idle, key=lambda pair: -pair[1].idle_seconds):
                if over <= 0:
                    break
                over -= resident.memory_bytes
                team.idle.remove(resident)
                self._leave(resident)

    def _look_at(self, team: _Team, resident: ResidentProcess) -> None:
        """Measure one that is idle; it serves nobody meanwhile, and holds up no other."""
        with self._condition:
            if resident not in team.idle:
                return  # it serves a call by now
            team.idle.remove(resident)
            team.busy += 1
        fault = resident.fault()
        if fault:
            name = team.caller.program.name
            _LOG.warning("a resident of plugin %s is replaced: it %s", name, fault)
        with self._condition:
            team.busy -= 1
            is_old = resident.idle_seconds > self._limits.idle_seconds
            if fault or is_old or team.is_left or self._closed:
                self._leave(resident)
            else:
                team.idle.insert(0, resident)
            self._condition.notify_all()

    def _memory_bytes(self) -> int:
        everybody = [*self._serving, *(r for t in self._teams.values() for r in t.idle)]
        return sum(resident.memory_bytes for resident in everybody)

    def _load_wanted(self) -> None:
        """Load the next residents of teams that will need one soon."""
        with self._condition:
            wanting = [team for team in self._teams.values() if team.count < team.wanted]
            for team in self._teams.values():
                team.wanted = 0
            for team in wanting:
                team.loading += 1
        for team in wanting:
            loaded = self._load(team, team.caller)
            with self._condition:
                if isinstance(loaded, ResidentProcess):
                    if team.is_left or self._closed:
                        self._leave(loaded)
                    else:
                        team.idle.insert(0, loaded)
                    self._condition.notify_all()

    def close(self) -> None:
        """End all residents, with the calls that still run in them."""
        with self._condition:
            self._closed = True
            for key, team in list(self._teams.items()):
                self._disband(key, team)
            self._leaving += self._serving
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._close_leaving()
