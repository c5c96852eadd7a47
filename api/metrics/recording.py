"""What a worker counts, and how it asks for what everybody has counted. Made after the fork."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolrunner.api.metrics import families
from toolrunner.api.metrics.exposition import exposition
from toolrunner.api.metrics.families import Family
from toolrunner.api.metrics.history import History
from toolrunner.api.metrics.recent import RecentCall
from toolrunner.api.metrics.tables import Key, Tables
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.services.plugin_management import Executed

if TYPE_CHECKING:
    from toolrunner.runner.services.backend import Backend
    from toolrunner.sandbox.ending import BoxFigures, ResidentFigures

_KILLS = frozenset(
    {
        ErrorType.CANCELLED,
        ErrorType.TIME_LIMIT_EXCEEDED,
        ErrorType.CPU_LIMIT_EXCEEDED,
        ErrorType.MEMORY_LIMIT_EXCEEDED,
        ErrorType.PROCESS_LIMIT_EXCEEDED,
        ErrorType.DISK_LIMIT_EXCEEDED,
        ErrorType.OUTPUT_LIMIT_EXCEEDED,
    }
)
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})
_INFINITE = "+Inf"
RECENT_SECONDS = 600


class Metrics:
    """One worker's figures, and the way to everybody's. Thread-safe."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, tables: Tables, number: int = 0, history: History | None = None) -> None:
        """``number``: of the worker's place. ``history``: what all tables have been, if kept."""
        self.history = history
        self._tables = tables
        self._table = tables.of_worker(number)
        self._recent = tables.recent_of(number)
        self._boxes: Mapping[str, BoxFigures] = {}
        self._residents: Mapping[str, ResidentFigures] = {}
        self.waiting(0)

    def observe(self, executed: Executed) -> None:
        """Count a call that has ended. A plugin that nobody knows is ""."""
        self._count(families.CALLS, executed.plugin, executed.outcome)
        if executed.outcome in _KILLS:
            self._count(families.KILLS, executed.plugin, executed.outcome)
        key = (families.CALL_SECONDS.name, executed.plugin)
        bound = next((f"{one:g}" for one in families.SECONDS if executed.seconds <= one), _INFINITE)
        self._table.add((*key, bound), 1)
        self._table.add((*key, "sum"), executed.seconds)
        self._recent.note(executed)

    def last_calls(self, plugin: str | None = None) -> list[RecentCall]:
        """Return the last calls of a plugin, or of all, in all workers: the newest first."""
        return self._tables.last_calls(plugin)

    def begun(self) -> None:
        """Count a request in."""
        self._count(families.REQUESTS_OPEN)

    def ended(self) -> None:
        """Count a request out, answered or not."""
        self._count(families.REQUESTS_OPEN, by=-1)

    def answered(self, method: str, route: str, status: int) -> None:
        """Count a request; ``route`` is that of the app, with the names of its parameters."""
        known = method if method in _METHODS else "other"
        self._count(families.REQUESTS, known, route, str(status))

    def refused(self, reason: str, why: str = "") -> None:
        """Count a request of which nothing ran; ``reason`` is an error's type, ``why`` a Reason."""
        self._count(families.REFUSALS, *((reason, why) if why else (reason,)))

    def waiting(self, calls: int) -> None:
        """Note how many calls wait in this worker now."""
        self._table.set((families.WAITING.name,), calls)

    def boxes(self, figures: Mapping[str, BoxFigures]) -> None:
        """Note what there is to tell of this worker's warm boxes now."""
        noted, self._boxes = self._boxes, figures
        for plugin, now in figures.items():
            before = noted.get(plugin)
            self._set(families.BOXES, plugin, now.boxes)
            self._set(families.BOXES_MEMORY, plugin, now.memory_bytes)
            started = now.started - (before.started if before else 0)
            self._count(families.BOXES_STARTED, plugin, by=started)

    def residents(self, figures: Mapping[str, ResidentFigures]) -> None:
        """Note what there is to tell of this worker's residents now."""
        noted, self._residents = self._residents, figures
        for plugin, now in figures.items():
            before = noted.get(plugin)
            self._set(families.RESIDENTS, plugin, now.processes)
            self._set(families.RESIDENTS_IDLE, plugin, now.idle)
            self._set(families.RESIDENTS_WAITING, plugin, now.waiting)
            self._set(families.RESIDENTS_MEMORY, plugin, now.memory_bytes)
            self._set(families.RESIDENTS_OLDEST, plugin, now.oldest_seconds)
            calls = now.calls - (before.calls if before else 0)
            self._count(families.RESIDENTS_CALLS, plugin, by=calls)
            turns = now.turns - (before.turns if before else 0)
            self._count(families.RESIDENTS_TURNS, plugin, by=turns)
            for reason, count in now.replaced.items():
                known = before.replaced.get(reason, 0) if before else 0
                self._count(families.RESIDENTS_REPLACED, plugin, reason, by=count - known)

    def problem(self) -> str:
        """Return why not everything is counted; "" while it is."""
        if not self._tables.dropped():
            return ""
        return "there are more plugins, or more kinds of answers, than figures have room for"

    def deaths(self) -> int:
        """Return how many workers have died in the last ten minutes."""
        return self._tables.deaths.recent(RECENT_SECONDS)

    def exposition(self, backend: Backend, problems: Mapping[str, str]) -> bytes:
        """Return everybody's figures in Prometheus' text format.

        ``problems``: what is wrong with each part of this process, "" if nothing.
        """
        return exposition(self._tables, backend, problems)

    def _count(self, family: Family, *labels: str, by: float = 1) -> None:
        self._table.add((family.name, *labels), by)

    def _set(self, family: Family, plugin: str, value: float) -> None:
        self._table.set((family.name, plugin), value)


def buried(tables: Tables, pid: int, status: int | None = None) -> int:
    """Keep what a dead worker has counted, and count its death. For the supervisor.

    ``status``: how it ended; ``None`` for one that the supervisor has killed. Return how many
    requests it has left without an answer.
    """
    forgotten = tables.fold(pid, _is_lasting)
    lost = max(0, round(forgotten.get((families.REQUESTS_OPEN.name,), 0)))
    tables.own.add((families.REQUESTS_LOST.name,), lost)
    tables.own.add((families.WORKER_RESTARTS.name,), 1)
    if status == -signal.SIGKILL:
        tables.own.add((families.WORKERS_KILLED.name,), 1)
    tables.deaths.note()
    return lost


def begun(tables: Tables) -> None:
    """Show that no worker has died yet. For the supervisor."""
    for family in (families.WORKER_RESTARTS, families.WORKERS_KILLED, families.REQUESTS_LOST):
        tables.own.set((family.name,), 0)


def _is_lasting(key: Key) -> bool:
    family = families.BY_NAME.get(key[0])
    return family is not None and family.kind.is_lasting
