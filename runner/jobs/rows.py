"""A row of a database of jobs as the job or the event that it is, whichever database that is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from toolrunner.runner.errors import CancelledBy, one_line, timestamp
from toolrunner.runner.jobs import endings
from toolrunner.runner.jobs.job import Event, Job, JobStatus

# What a value of another kind than it should be of raises.
_UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, OSError)
_MOST_SHOWN = 80
# What ``withdrawn`` says of a job that was cancelled; 0 of all others.
_BY_CALLER, _BY_OPERATOR = 1, 2


class Row(Protocol):
    """What a database returns: values by the names of their columns."""

    def __getitem__(self, name: str, /) -> Any:  # noqa: ANN401 - as the column is
        """Return the value of a column."""
        ...

    def keys(self) -> Iterable[str]:
        """Return the names of the columns."""
        ...


class DamagedError(Exception):
    """The values of a job's row allow no such step: not now, and not later. It says which."""


def job_of(row: Row) -> Job:
    """Return the job of a row; ``is_stranded``: whether nobody can run it, where that was asked.

    One that cannot be read has failed, and says so: its damage is no other job's trouble.
    """
    found: dict[str, Any] = {}
    damage = []
    readers: dict[str, Callable[[], object]] = {
        "status": lambda: JobStatus(row["status"]),
        "progress": lambda: _fraction(row["progress"]),
        "created_at": lambda: datetime.fromtimestamp(row["created"], UTC),
        "started_at": lambda: _time(row["started"]),
        "ended_at": lambda: _time(row["ended"]),
        "error": lambda: None if row["error"] is None else _error(row["error"]),
    }
    for name, read in readers.items():
        try:
            found[name] = read()
        except _UNREADABLE:
            found[name] = _INSTEAD.get(name)
            column = _COLUMNS.get(name, name)
            damage.append(f"{column} = {str(row[column])[:_MOST_SHOWN]!r}")
    is_stranded = "is_stranded" in row.keys() and row["is_stranded"]  # noqa: SIM118 - a row's are its columns
    job = Job(
        id=row["id"],
        plugin=row["plugin"],
        caller=row["caller"],
        attempts=row["attempts"] - row["given_back"],
        retries=row["retries"],
        version=row["version"],
        is_dead=row["dead_bytes"] is not None,
        cancelled_by=cancelled_by(row["withdrawn"]),
        traceparent=row["traceparent"],
        waiting_for=able_to_run(row["plugin"], row["version"]) if is_stranded else "",
        **found,
    )
    return _damaged(job, one_line(", ".join(damage))) if damage else job


def _damaged(job: Job, damage: str) -> Job:
    return replace(
        job,
        status=JobStatus.FAILED,
        # As old as the job: it is the same whenever it is asked for.
        error={**endings.damaged(job, damage), "timestamp": timestamp(job.created_at)},
        waiting_for="",
        is_dead=False,
        damage=damage,
    )


def status_of(text: str) -> JobStatus:
    """Return the status that a row says, which of a damaged one is FAILED."""
    try:
        return JobStatus(text)
    except ValueError:
        return JobStatus.FAILED


def cancelled_by(withdrawn: int) -> CancelledBy:
    """Return who has cancelled a job, by its row."""
    return CancelledBy.OPERATOR if withdrawn == _BY_OPERATOR else CancelledBy.CALLER


def mark_of(by: CancelledBy) -> int:
    """Return what ``withdrawn`` is for a job that somebody cancels."""
    return _BY_OPERATOR if by is CancelledBy.OPERATOR else _BY_CALLER


def able_to_run(plugin: str, version: str | None) -> str:
    """Return in words what a job waits for that nobody can run."""
    return f"a server that can run {plugin} {version or ''}".rstrip()


# What a damaged row is shown with, where it has to be something.
_INSTEAD = {"status": JobStatus.FAILED, "created_at": datetime.fromtimestamp(0, UTC)}
_COLUMNS = {"created_at": "created", "started_at": "started", "ended_at": "ended"}


def _fraction(progress: float | None) -> float | None:
    if progress is not None and not math.isfinite(progress):
        raise ValueError(progress)
    return progress


def _error(text: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(text)
    if not isinstance(error["type"], str):
        raise TypeError(text)
    return {**error, "details": dict(error["details"])} if "details" in error else error


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def events_of(rows: Iterable[Row]) -> list[Event]:
    """Return the events of rows, but those that cannot be read."""
    found = []
    for row in rows:
        try:
            data = dict(json.loads(row["data"]))
            if row["kind"] == "status":
                JobStatus(data["status"])
            else:
                _fraction(data["fraction"]), str.split(data["message"])
        except _UNREADABLE:
            continue
        found.append(Event(row["number"], row["kind"], data))
    return found
