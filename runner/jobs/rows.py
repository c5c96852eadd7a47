"""A row of a database of jobs as the job or the event that it is, whichever database that is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Event, Job, JobStatus

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


def job_of(row: Row) -> Job:
    """Return the job of a row; ``is_stranded``: whether nobody can run it, where that was asked."""
    is_stranded = "is_stranded" in row.keys() and row["is_stranded"]  # noqa: SIM118 - a row's are its columns
    return Job(
        id=row["id"],
        plugin=row["plugin"],
        caller=row["caller"],
        status=JobStatus(row["status"]),
        progress=row["progress"],
        created_at=datetime.fromtimestamp(row["created"], UTC),
        started_at=_time(row["started"]),
        ended_at=_time(row["ended"]),
        attempts=row["attempts"] - row["given_back"],
        retries=row["retries"],
        error=None if row["error"] is None else json.loads(row["error"]),
        version=row["version"],
        is_dead=row["dead_bytes"] is not None,
        cancelled_by=cancelled_by(row["withdrawn"]),
        traceparent=row["traceparent"],
        waiting_for=able_to_run(row["plugin"], row["version"]) if is_stranded else "",
    )


def cancelled_by(withdrawn: int) -> CancelledBy:
    """Return who has cancelled a job, by its row."""
    return CancelledBy.OPERATOR if withdrawn == _BY_OPERATOR else CancelledBy.CALLER


def mark_of(by: CancelledBy) -> int:
    """Return what ``withdrawn`` is for a job that somebody cancels."""
    return _BY_OPERATOR if by is CancelledBy.OPERATOR else _BY_CALLER


def able_to_run(plugin: str, version: str | None) -> str:
    """Return in words what a job waits for that nobody can run."""
    return f"a server that can run {plugin} {version or ''}".rstrip()


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def event_of(row: Row) -> Event:
    """Return the event of a row."""
    return Event(row["number"], row["kind"], json.loads(row["data"]))
