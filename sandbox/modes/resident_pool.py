"""The residents that there are: whose turn it is, which are loaded, and which have to go.

Thread-safe. A thread of its own closes those that leave, looks at those that are idle, and loads
the next ones ahead.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from dataclasses import dataclass

from toolrunner.sandbox import forks
from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.ending import Ending, Replaced, ResidentFigures, SetupFailure, Stage
from toolrunner.sandbox.exchange.load import LoadExchange
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.modes.boxes import Boxes
from toolrunner.sandbox.modes.mode import Caller, isolation_of
from toolrunner.sandbox.modes.resident_figures import ResidentCounts
from toolrunner.sandbox.modes.resident_process import ResidentProcess
from toolrunner.sandbox.modes.team import Batch, Team, Ticket, forget
from toolrunner.sandbox.shortage import NoThreadError, remedy_of, started

_LOG = logging.getLogger("toolrunner.sandbox")

_ROUND_SECONDS = 1.0
_LOOK_SECONDS = 0.05  # after which who waits looks by himself whether there is room
_CLOSE_SECONDS = 3.0  # for the calls that run to hear of their end
_NEARLY = 0.9  # of the calls that a resident serves, after which the next one is loaded
_CLOSED = SetupFailure("find a resident", "the sandbox has been closed")


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


class ResidentPool:
    """Gives calls their residents, or the batch that takes them along."""

    def __init__(self, boxes: Boxes, limits: ResidentLimits) -> None:
        self._boxes = boxes
        self._limits = limits
        self._closed = False
        self._begin()
        forks.in_each_child(self, ResidentPool._begin)

    def _begin(self) -> None:
        self._condition = threading.Condition()
        self._counts = ResidentCounts()
        self._teams: dict[tuple[str, str], Team] = {}
        self._there: dict[ResidentProcess, Team] = {}
        self._leaving: list[ResidentProcess] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # --- whose turn it is ------------------------------------------------------------------

    def take(self, ticket: Ticket) -> ResidentProcess | Batch | Ending:
        """Return a resident for a call, or the batch that takes it along, or why there is none."""
        try:
            with ticket.caller.interrupt.waking(ticket.woken.set):
                while True:
                    found = self._seat(ticket)
                    if found is not None:
                        return found
                    ticket.woken.wait(_LOOK_SECONDS)
                    ticket.woken.clear()
        except BaseException:
            with self._condition:
                forget(ticket)
                resident = ticket.resident
            if resident is not None:
                self.give_back(resident)
            raise

    def _seat(self, ticket: Ticket) -> ResidentProcess | Batch | Ending | None:
        """Return what a call can have now; let it wait when that is nothing."""
        with self._condition:
            if ticket.batch is not None:
                return ticket.batch
            refusal = self._refusal(ticket)
            resident, team = ticket.resident, None
            if resident is None and refusal is None:
                team = self._team(ticket.caller)
                if any(batch.join(ticket) for batch in team.open):
                    forget(ticket)
                    return ticket.batch
                resident = ticket.resident = team.take_idle()
                if resident is None:
                    if team.count >= self._limits.each or not self._has_room(team):
                        team.wait(ticket)
                        return None
                    team.loading += 1
            forget(ticket)
        if refusal is not None:
            if resident is not None:
                self.give_back(resident)
            return refusal
        if resident is None:
            assert team is not None
            return self._load(team, ticket.caller)
        if resident.is_ready():
            return resident
        ticket.resident = None
        self.give_back(resident)
        return self._seat(ticket)

    def _refusal(self, ticket: Ticket) -> Ending | None:
        if self._closed:
            return Ending(stage=Stage.SETUP, setup=_CLOSED)
        if ticket.caller.interrupt.cancelled:
            return Ending(stage=Stage.SETUP, cancelled=True)
        return None

    def _team(self, caller: Caller) -> Team:
        key = (caller.program.name, caller.owner)
        team = self._teams.get(key)
        if team is not None and team.is_for(caller):
            return team
        if team is not None:
            self._disband(key, team)
        team = self._teams[key] = Team(caller)
        return team

    def _disband(self, key: tuple[str, str], team: Team) -> None:
        """Let the residents of a team go; those that serve end with their call."""
        team.is_left = True
        if self._teams.get(key) is team:
            del self._teams[key]
        for resident in team.idle:
            self._leave(resident, Replaced.CHANGED)
        team.idle.clear()
        for ticket in team.waiting:
            ticket.woken.set()

    def _has_room(self, wanting: Team) -> bool:
        """Tell whether there may be one more; an idle one of another team makes room."""
        loading = sum(team.loading for team in self._teams.values())
        if len(self._there) + loading < self._limits.all:
            return True
        others = [team for team in self._teams.values() if team is not wanting and team.idle]
        if not others:
            return False
        team = max(others, key=lambda team: team.idle[0].idle_seconds)
        self._leave(team.idle.pop(0), Replaced.ROOM)
        return True

    def _load(self, team: Team, caller: Caller) -> ResidentProcess | Ending:
        """Load a resident in this thread; the team has counted it as loading."""
        loaded: ResidentProcess | Ending = Ending(stage=Stage.SETUP, setup=_CLOSED)
        try:
            loaded = self._started(caller)
        finally:
            with self._condition:
                team.loading -= 1
                self._start_thread()
                if isinstance(loaded, Ending):
                    team.wake_next()
                elif self._closed:
                    self._leaving.append(loaded)
                else:
                    team.busy.add(loaded)
                    self._there[loaded] = team
                is_closed = self._closed
        if is_closed:
            self._close_leaving()
            return Ending(stage=Stage.SETUP, setup=_CLOSED)
        return loaded

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
                name, calls = caller.program.name, self._limits.calls
                resident = ResidentProcess(stack, cell, name, ending.log_tail, calls)
                with contextlib.ExitStack() as unused:
                    unused.callback(resident.close)
                    resident.leave_load()
                    unused.pop_all()
                return resident
        except SetupError as error:
            return Ending(stage=Stage.SETUP, setup=error.failure, isolation=isolation)
        except OSError as error:
            failure = SetupFailure("order the resident", str(error), error.errno, remedy_of(error))
            return Ending(stage=Stage.SETUP, setup=failure, isolation=isolation)

    def give_back(self, resident: ResidentProcess, *, calls: int = 0) -> None:
        """End a turn, in which so many calls were served: the next one waits, or it is idle."""
        usable = resident.renew()
        with self._condition:
            team = self._there.get(resident)
            if calls:
                self._counts.served(resident.plugin, calls)
            if team is not None:
                self._let_serve_on(team, resident, usable=usable)
            is_closed = self._closed
        if is_closed:
            self._close_leaving()  # there is no thread any more that would

    def _let_serve_on(self, team: Team, resident: ResidentProcess, *, usable: bool) -> None:
        is_old = resident.calls >= _NEARLY * self._limits.calls
        team.busy.discard(resident)
        if not usable:
            self._leave(resident)
        elif team.is_left or self._closed:
            self._leave(resident, Replaced.CHANGED)
        elif is_old and team.idle:
            self._leave(resident, Replaced.CALLS)
        else:
            team.give(resident)
        if resident not in self._there:
            team.wake_next()
        # The next one loads while this one serves, or at once when it has failed.
        if (is_old or not usable) and resident.calls:
            team.wanted = self._limits.each + usable
            self._wake.set()

    def _leave(self, resident: ResidentProcess, why: Replaced | None = None) -> None:
        self._there.pop(resident, None)
        self._counts.left(resident.plugin, why or resident.spent_by or Replaced.ENDED)
        self._leaving.append(resident)
        self._wake.set()
        self._condition.notify_all()

    def figures(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of each plugin."""
        with self._condition:
            idle = [resident for team in self._teams.values() for resident in team.idle]
            waiting: collections.Counter[str] = collections.Counter()
            for (name, _), team in self._teams.items():
                waiting[name] += len(team.waiting)
            return self._counts.figures(self._there, idle, waiting)

    # --- the thread ------------------------------------------------------------------------

    def _start_thread(self) -> None:
        if self._thread is None and not self._closed:
            with contextlib.suppress(NoThreadError):  # the next load starts it
                self._thread = started(self._keep, "toolrunner-residents")

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
            for key in [key for key, team in self._teams.items() if team.is_unused]:
                del self._teams[key]
            over = sum(one.memory_bytes for one in self._there) - self._limits.memory_mb * MIB
            idle = [(team, r) for team in self._teams.values() for r in team.idle]
            for team, resident in sorted(idle, key=lambda pair: -pair[1].idle_seconds):
                if over <= 0:
                    break
                over -= resident.memory_bytes
                team.idle.remove(resident)
                self._leave(resident, Replaced.MEMORY)

    def _look_at(self, team: Team, resident: ResidentProcess) -> None:
        """Measure one that is idle; it serves nobody meanwhile, and holds up no other."""
        with self._condition:
            if resident not in team.idle:
                return  # it serves a call by now
            team.idle.remove(resident)
            team.busy.add(resident)
        fault = resident.fault()
        if fault:
            _LOG.warning("a resident of plugin %s is replaced: it %s", resident.plugin, fault)
        with self._condition:
            team.busy.discard(resident)
            if resident not in self._there:
                return  # closed meanwhile
            if fault:
                self._leave(resident)
            elif team.is_left or self._closed:
                self._leave(resident, Replaced.CHANGED)
            elif resident.idle_seconds > self._limits.idle_seconds:
                self._leave(resident, Replaced.IDLE)
            elif team.waiting:
                team.give(resident)
            else:
                team.idle.insert(0, resident)
            team.wake_next()

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
            if isinstance(loaded, ResidentProcess):
                with self._condition:
                    team.busy.discard(loaded)
                    if team.is_left or self._closed:
                        self._leave(loaded, Replaced.CHANGED)
                    elif team.waiting:
                        team.give(loaded)
                    else:
                        team.idle.insert(0, loaded)

    # --- batches ---------------------------------------------------------------------------

    def open_batch(self, resident: ResidentProcess, ticket: Ticket) -> Batch | None:
        """Put a call that has a resident, and those of its caller that wait, into a batch.

        It has room for more calls until it is closed. ``None`` when there are no batches.
        """
        with self._condition:
            team = self._there.get(resident)
            if team is None or team.caller.program.batch == 1:
                return None
            batch = Batch(ticket)
            team.take_along(batch)
            team.open.append(batch)
            return batch

    def close_batch(self, batch: Batch) -> None:
        """Let no more calls join, and leave those out that were withdrawn meanwhile."""
        with self._condition:
            for team in self._teams.values():
                if batch in team.open:
                    team.open.remove(batch)
            batch.close()

    def end_batch(self, batch: Batch, endings: list[Ending] | None) -> None:
        """Tell each call how it ended; ``None``: nothing was sent, and they begin anew."""
        with self._condition:
            for number, ticket in enumerate(batch.tickets):
                ticket.ending = endings[number] if endings else None
                ticket.is_over = True
                ticket.woken.set()

    def withdraw(self, batch: Batch, ticket: Ticket) -> bool:
        """Leave a call out of its batch; tell whether the others go on without it."""
        with self._condition:
            return not ticket.is_over and batch.withdraw(ticket)

    def close(self) -> None:
        """End all residents, with the calls that still run in them."""
        with self._condition:
            self._closed = True
            for team in self._teams.values():
                for resident in team.idle:
                    del self._there[resident]
                    self._leaving.append(resident)
                team.idle.clear()
                for ticket in team.waiting:
                    ticket.woken.set()
            serving = list(self._there)
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        for resident in serving:
            resident.kill()
        with self._condition:
            # Each is let go by the thread that has it: its call hears of the end as of any other.
            self._condition.wait_for(lambda: not self._there, _CLOSE_SECONDS)
            self._leaving += self._there
            self._there.clear()
        self._close_leaving()
