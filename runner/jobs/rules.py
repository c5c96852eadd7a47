"""What holds of jobs in every store: when there is room, which are dead, and after a lost attempt.

Pure: a store asks with what its rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from toolrunner.runner.errors import Blame, ErrorType
from toolrunner.runner.fair_share import is_fair
from toolrunner.runner.jobs.job import (
    IdempotencyConflictError,
    Job,
    JobStatus,
    QueueFullError,
    TooLargeError,
)
from toolrunner.runner.jobs.rows import Row, job_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.limits import MIB

# A job that has not begun loses nothing by the death of its process; not for ever, since it may be
# what such processes die of.
MOST_UNBEGUN = 20
# Of those that are kept no longer, so many rows change in one transaction: others want to write.
MOST_AT_ONCE = 500
_SECONDS_AN_HOUR = 3600
# Beyond one part in so many of the room, or with a payload of one in so many, no two look at once.
_NEAR, _MANY = 4, 1000
# More come at once from 25 processes and more: each adds by 8 connections at most.
_AT_ONCE = 200


class Bounds(TypedDict):
    """How much a store of jobs holds, and for how long.

    So many jobs may be pending, with payloads of so many bytes together. Ended ones are kept for a
    time, and up to a size; dead ones up to a number, and a size of their payloads: none without it.
    """

    max_pending: int
    max_pending_bytes: NotRequired[int]
    keep_seconds: float
    keep_bytes: int
    keep_dead: NotRequired[int]
    keep_dead_bytes: NotRequired[int]


def bounds_of(settings: Settings) -> Bounds:
    """Return what the settings say of it; the same for every store."""
    return {
        "max_pending": settings.max_jobs,
        "max_pending_bytes": settings.max_jobs_mb * MIB,
        "keep_seconds": settings.keep_hours * _SECONDS_AN_HOUR,
        "keep_bytes": settings.keep_mb * MIB,
        "keep_dead": settings.keep_dead,
        "keep_dead_bytes": settings.keep_dead_mb * MIB,
    }


def in_parts(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield jobs, as many as change in one transaction."""
    for first in range(0, len(job_ids), MOST_AT_ONCE):
        yield job_ids[first : first + MOST_AT_ONCE]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs wait, and what their payloads take: all, and those of one caller."""

    jobs: int
    payload_bytes: int
    own_jobs: int
    own_bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """How many jobs may wait, and how many bytes their payloads may take together."""

    jobs: int
    payload_bytes: int

    def is_near(self, waiting: Waiting, payload_bytes: int) -> bool:
        """Whether those that come at once may be beyond it together, if each sees only the others.

        Up to a quarter of it they may not, where there is room for many more than come at once: so
        many do not, and none of them is large. Nor has a caller more than its share then.
        """
        taken = waiting.payload_bytes + payload_bytes
        is_large = payload_bytes > self.payload_bytes // _MANY
        is_narrow = self.jobs - waiting.jobs < _AT_ONCE
        is_much = _NEAR * (waiting.jobs + 1) > self.jobs or _NEAR * taken > self.payload_bytes
        return is_large or is_narrow or is_much

    def check(self, waiting: Waiting, caller: str, payload_bytes: int) -> None:
        """Raise QueueFullError if no job of a caller with such a payload may wait beside others.

        TooLargeError if it never may.
        """
        if payload_bytes > self.payload_bytes:
            message = (
                f"the payload takes {_mib(payload_bytes)} MiB, and those of all jobs that wait may"
                f" take {_mib(self.payload_bytes)} together (max_jobs_mb)"
            )
            raise TooLargeError(ErrorType.VALIDATION_ERROR, message)
        taken, own_bytes = waiting.payload_bytes, waiting.own_bytes
        if waiting.jobs >= self.jobs:
            message = f"{self.jobs} jobs are waiting already (max_jobs); try again later"
        elif taken + payload_bytes > self.payload_bytes:
            message = (
                f"payloads of {_mib(taken)} MiB wait already; with {_mib(payload_bytes)} MiB more"
                f" they would be beyond {_mib(self.payload_bytes)} (max_jobs_mb); try again later"
            )
        elif not is_fair(caller, waiting.own_jobs, waiting.jobs, self.jobs):
            message = (
                f"{waiting.own_jobs} jobs of this caller wait; what is free is for others"
                " (max_jobs); try again later"
            )
        elif not is_fair(caller, own_bytes, taken, self.payload_bytes, payload_bytes):
            message = (
                f"payloads of {_mib(own_bytes)} MiB of this caller wait; what is free is for others"
                " (max_jobs_mb); try again later"
            )
        else:
            return
        raise QueueFullError(ErrorType.OVERLOADED, message, {"retry_after_seconds": 5})


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"


def repeated(row: Row | None, mark: str) -> Job | None:
    """Return the job that has a submission's key already; ``mark`` is what was asked for.

    Raises IdempotencyConflictError if it asks for something else.
    """
    if row is not None and row["fingerprint"] != mark:
        message = "this Idempotency-Key belongs to a job that asks for something else"
        raise IdempotencyConflictError(message)
    return None if row is None else job_of(row)


def after_loss(
    row: Row, lost: Callable[[Job], dict[str, Any]]
) -> tuple[JobStatus, dict[str, Any] | None]:
    """Return what becomes of a job whose attempt was lost, and the error that it ends with."""
    if row["withdrawn"]:
        return JobStatus.CANCELLED, None
    if row["deaths"] <= row["retries"]:
        return JobStatus.PENDING, None
    return JobStatus.FAILED, lost(job_of(row))


def is_callers_fault(error: Mapping[str, Any] | None) -> bool:
    """Whether the same job would fail again, since its caller is to blame."""
    return error is not None and error["details"]["blame"] == Blame.CALLER


def why_not_dead(job: Job) -> str:
    """Return what to tell who wants to retry a job that is not dead."""
    if not job.status.has_ended:
        return f"the job is {job.status}: it runs, or will; only one that has failed is retried"
    if job.status is not JobStatus.FAILED:
        return f"the job is {job.status}: only one that has failed is retried; leave a new one"
    return (
        "the payload of the job is kept no longer, or it failed by its caller's fault and would "
        "again: leave a new one"
    )
