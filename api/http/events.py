"""A job's events as a stream that a browser's EventSource reads: ``id``, ``event``, ``data``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.callers import Caller, may_stay
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import without_paths
from toolrunner.runner.jobs.job import Event, JobStatus
from toolrunner.runner.jobs.store import StoreError
from toolrunner.sandbox.shortage import is_thread_refused

_LEAST_PAUSE_SECONDS = 0.05
_MOST_PAUSE_SECONDS = 0.5
_KEEP_ALIVE_SECONDS = 15.0
# nginx hands on what it gets at once only if it is told.
UNBUFFERED = {"X-Accel-Buffering": "no"}


async def stream(doors: Doors, caller: Caller, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield each event once, from the one after ``after`` on; end with the job.

    It also ends when the caller's key is revoked, and when the server ends: a client comes back
    with the last id that it has seen.
    """
    jobs = doors.backend.jobs
    number, pause = after, _LEAST_PAUSE_SECONDS
    spoken = time.monotonic()
    while True:
        try:
            # In this order: a job that has ended by now has all its events there.
            job = await run_in_threadpool(jobs.get_job, job_id, caller.scope)
            events = await run_in_threadpool(jobs.job_events, job_id, number)
        except StoreError:  # whoever comes back is told, or goes on where he was
            return
        except RuntimeError as error:
            if not is_thread_refused(error):
                raise
            return
        for event in events:
            number, spoken = event.number, time.monotonic()
            yield _written(event)
            if event.kind == "status" and JobStatus(event.data["status"]).has_ended:
                return
        if job is None or job.status.has_ended or doors.closing():
            return
        if not await may_stay(doors, caller):
            return
        if time.monotonic() - spoken > _KEEP_ALIVE_SECONDS:
            spoken = time.monotonic()
            yield b": still here\n\n"
        pause = _LEAST_PAUSE_SECONDS if events else min(2 * pause, _MOST_PAUSE_SECONDS)
        await asyncio.sleep(pause)


def _written(event: Event) -> bytes:
    data = dict(event.data)
    if "message" in data:
        data["message"] = without_paths(data["message"])
    text = f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n"
    return text.encode("ascii")
