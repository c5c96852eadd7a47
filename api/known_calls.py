"""What calls of a plugin have left behind here, or in its cluster: for who looks without a server.

The audit log has those that somebody waited for over HTTP, the store of jobs the others.
Nothing is written here, and nothing is made that is not there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from toolrunner.api.audit import Audit, AuditEntry
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus
from toolrunner.runner.jobs.store import JobStore

SUCCESS = "success"
MOST_LINES = 10_000
MOST_JOBS = 1000
PARTS = 24  # that the time between the first call and the last is divided into
_ANALYZE = "POST /v1/analyze"
_CANCELLED = "Cancelled"
Door = Literal["analyze", "job"]


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call that has ended. ``outcome``: SUCCESS or the type of its error, as is ``message``.

    ``usage``: what it used, where its error tells.
    """

    at: datetime
    door: Door
    caller: str
    outcome: str
    ms: int
    message: str = ""
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the time that calls are known of."""

    since: datetime
    calls: int
    failed: int


def of_audit(log: Audit, plugin: str) -> list[KnownCall]:
    """Return a plugin's calls in the newest lines of the audit log; raises OSError."""
    found = []
    for line in log.read(limit=MOST_LINES, before=None, caller=None):
        if line.get("plugin") == plugin and line.get("route") == _ANALYZE:
            call = _of_line(line)
            if call is not None:
                found.append(call)
    return found


def _of_line(line: AuditEntry) -> KnownCall | None:
    """Return the call of a line; ``None`` for one that was written by others."""
    try:
        at = datetime.fromisoformat(line["time"]).astimezone(UTC)
        ms = max(0, round(line["ms"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return KnownCall(at, "analyze", str(line.get("caller", "")), str(line.get("outcome", "")), ms)


def of_jobs(store: JobStore, plugin: str) -> list[KnownCall]:
    """Return a plugin's newest jobs that have begun and ended; raises OSError."""
    listed = store.listed(JobFilter(None, plugin=plugin), limit=MOST_JOBS, before=None)
    return [call for job in listed if (call := _of_job(job)) is not None]


def _of_job(job: Job) -> KnownCall | None:
    if job.started_at is None or job.ended_at is None:
        return None
    ms = max(0, round((job.ended_at - job.started_at) / timedelta(milliseconds=1)))
    error = job.error or {}
    outcome = str(error.get("type", "")) or (
        SUCCESS if job.status is JobStatus.SUCCESS else _CANCELLED
    )
    details = error.get("details")
    usage = details.get("usage") if isinstance(details, dict) else None
    return KnownCall(
        job.ended_at,
        "job",
        job.caller,
        outcome,
        ms,
        str(error.get("message", "")),
        usage if isinstance(usage, dict) else None,
    )


def percentile(times: Iterable[float], part: float) -> float | None:
    """Return the time that ``part`` of all have taken at most; ``None`` of none."""
    ordered = sorted(times)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)] if ordered else None


def failures(calls: Iterable[KnownCall]) -> dict[str, int]:
    """Return how many have failed by each type of error, the most frequent first."""
    return dict(Counter(one.outcome for one in calls if one.outcome != SUCCESS).most_common())


def over_time(calls: Sequence[KnownCall]) -> list[Part]:
    """Return how many there were in each part of the time from the first one to the last."""
    if not calls:
        return []
    first, last = min(one.at for one in calls), max(one.at for one in calls)
    width = (last - first) / PARTS
    if not width:
        return [Part(first, len(calls), sum(one.outcome != SUCCESS for one in calls))]
    counts, failed = [0] * PARTS, [0] * PARTS
    for one in calls:
        place = min(PARTS - 1, int((one.at - first) / width))
        counts[place] += 1
        failed[place] += one.outcome != SUCCESS
    return [Part(first + width * n, counts[n], failed[n]) for n in range(PARTS)]
