"""A job's events as a stream that a browser's EventSource reads: ``id``, ``event``, ``data``."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.callers import Caller, may_stay
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.following import following
from toolrunner.api.shown import without_paths
from toolrunner.runner.jobs.job import Event, JobStatus
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.sandbox.shortage import NoThreadError, is_thread_refused

# How soon a stream ends with its server, or with its caller's key.
LOOK_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
# nginx hands on what it gets at once only if it is told.
UNBUFFERED = {"X-Accel-Buffering": "no"}


async def stream(doors: Doors, caller: Caller, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield each event once, from the one after ``after`` on; end with the job.

    It also ends when the caller's key is revoked, and when the server ends: a client comes back
    with the last id that it has seen.
    """
    number, is_due = after, True
    spoken = time.monotonic()
    try:
        with following(doors.backend.jobs, job_id) as changes:
            while True:
                if is_due:
                    events, has_ended = await run_in_threadpool(
                        _look, doors.backend.jobs, caller, job_id, number
                    )
                    for event in events:
                        number, spoken = event.number, time.monotonic()
                        yield _written(event)
                        changes.hurry()
                    if has_ended:
                        return
                if doors.closing() or not await may_stay(doors, caller):
                    return
                if time.monotonic() - spoken > KEEP_ALIVE_SECONDS:
                    spoken = time.monotonic()
                    yield b": still here\n\n"
                is_due = await changes.wait(LOOK_SECONDS)
    except (StoreError, NoThreadError):  # whoever comes back is told, or goes on where he was
        return
    except RuntimeError as error:
        if not is_thread_refused(error):
            raise


def _look(
    jobs: JobManagementService, caller: Caller, job_id: str, after: int
) -> tuple[list[Event], bool]:
    """Return what has happened up to a job's next end, and whether that is the last of it."""
    # In this order: a job that has ended by now has all its events there.
    job = jobs.get_job(job_id, caller.scope)
    events = jobs.job_events(job_id, after)
    for place, event in enumerate(events, 1):
        if _is_last(event):
            return events[:place], True
    return events, job is None or job.status.has_ended


def _is_last(event: Event) -> bool:
    return event.kind == "status" and JobStatus(event.data["status"]).has_ended


def _written(event: Event) -> bytes:
    data = dict(event.data)
    if "message" in data:
        data["message"] = without_paths(data["message"])
    text = f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n"
    return text.encode("ascii")
