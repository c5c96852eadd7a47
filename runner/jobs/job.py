"""What a job is: a call that somebody has asked for and nobody waits for.

Plain data, passed between the store, the service and the doors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from toolrunner.runner.errors import CancelledBy, GovernedError


class JobStatus(StrEnum):
    """How far a job has got."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def has_ended(self) -> bool:
        """Whether nothing can change any more."""
        return self not in {JobStatus.PENDING, JobStatus.RUNNING}


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that is asked for.

    ``payload`` is what ``ToolRunner.run`` takes. ``caller`` is whose job it is: the id of a key,
    or "" where no keys are in use. ``retries`` says how often it may be run again after it
    was lost: the server that ran it has died, or was stopped. Two submissions of one caller with
    one ``idempotency_key`` are one job. ``version``: of the plugin, which alone may run it;
    ``None`` for whichever there is. ``traceparent``: of the trace that its calls go on with.
    """

    plugin: str
    payload: Mapping[str, Any]
    caller: str = ""
    retries: int = 0
    idempotency_key: str | None = None
    version: str | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment; times are in UTC. ``error`` is an envelope's public half.

    ``attempts``: how often it has begun. ``waiting_for``: what is missing where nobody can run it.
    ``is_dead``: it has failed, and is kept with its payload until it is retried or purged.
    ``cancelled_by``: only of one that was cancelled. ``damage``: what of its row nobody can
    read; it has failed then, with that reason.
    """

    id: str
    plugin: str
    caller: str
    status: JobStatus
    progress: float | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    retries: int
    error: dict[str, Any] | None
    version: str | None = None
    waiting_for: str = ""
    is_dead: bool = False
    cancelled_by: CancelledBy = CancelledBy.CALLER
    traceparent: str = ""
    damage: str = ""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant: those that all of it holds for; ``None`` holds for every job.

    So ``JobFilter(None)`` means those of all callers.
    """

    caller: str | None
    status: JobStatus | None = None
    plugin: str | None = None
    is_dead: bool | None = None
    ended_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; numbers grow within a job, beginning at 1.

    ``data`` is ``{"fraction", "message"}`` for ``progress`` and ``{"status"}`` for ``status``.
    """

    number: int
    kind: Literal["progress", "status"]
    data: dict[str, Any]


class IdempotencyConflictError(Exception):
    """The caller's idempotency key belongs to a job that asks for something else."""


class NotDeadError(Exception):
    """The job cannot be retried: it is not dead. The message says what it is."""


class QueueFullError(GovernedError):
    """As many jobs are waiting as may wait, or there is no room on the disk: ``Overloaded``."""


class TooLargeError(QueueFullError):
    """The payload alone is beyond what may wait, so that it never has room: ``ValidationError``."""
