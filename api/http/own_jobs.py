"""A job as its caller has it, for both doors: finding, cancelling and retrying it, and its error.

The operator has those of all callers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.documents import job_document
from toolrunner.api.http.audit import outcome
from toolrunner.api.http.callers import Caller
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import HttpError, RequestError, kept
from toolrunner.api.http.following import following
from toolrunner.api.shown import public
from toolrunner.runner.errors import CANCELLED_BY, CancelledBy, ErrorType
from toolrunner.runner.jobs.job import Job, JobStatus, NotDeadError, QueueFullError, TooLargeError

_CANCEL_SECONDS = 5.0
_LEAST_SECONDS = 0.02


async def found(job_id: str, doors: Doors, caller: Caller) -> Job:
    """Return a job of the caller's; raises RequestError when there is none."""
    job = await run_in_threadpool(doors.backend.jobs.get_job, job_id, caller.scope)
    if job is None:
        message = "there is no such job, or it is kept no longer"
        raise RequestError(HttpError.NOT_FOUND, message)
    return job


async def cancelled(request: Request, job_id: str, doors: Doors, caller: Caller) -> Job:
    """Kill a job that runs, and forget one that waits; return it as it is a moment later."""
    job = await found(job_id, doors, caller)
    request.state.plugin = job.plugin
    by = CancelledBy.CALLER if job.caller == caller.id else CancelledBy.OPERATOR
    cancel = partial(doors.backend.jobs.cancel_job, job_id, caller.scope, by=by)
    with following(doors.backend.jobs, job_id, least_seconds=_LEAST_SECONDS) as changes:
        await run_in_threadpool(cancel)
        job = await found(job_id, doors, caller)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while not job.status.has_ended and (left := deadline - time.monotonic()) > 0:
            if await changes.wait(left):
                job = await found(job_id, doors, caller)
    outcome(request, job.status)
    return job


async def retried(request: Request, job_id: str, doors: Doors, caller: Caller) -> Job:
    """Run a dead job again; raises RequestError for one that is not, or without room for it."""
    job = await found(job_id, doors, caller)
    request.state.plugin = job.plugin
    caller.insist(job.plugin)
    job = await run_in_threadpool(_retried, doors, caller, job)
    outcome(request, job.status)
    return job


def unsuccessful(job: Job) -> Response | None:
    """Return the answer to whoever wants what a job has brought and it has failed, else ``None``.

    Raises RequestError for one that has not ended, or never ran.
    """
    if not job.status.has_ended:
        message = f"the job is {job.status}; what it brings is there when it has ended"
        raise RequestError(HttpError.CONFLICT, message, plugin=job.plugin)
    if job.error is not None:
        return kept(told_error(job.error))
    if job.status is JobStatus.CANCELLED:
        is_own = job.cancelled_by is CancelledBy.CALLER
        message = f"the job was cancelled{'' if is_own else ' by the operator'} before it ran"
        details = {CANCELLED_BY: job.cancelled_by}
        raise RequestError(ErrorType.CANCELLED, message, plugin=job.plugin, details=details)
    return None


def shown(job: Job, caller: Caller) -> dict[str, Any]:
    """Return a job as JSON shows it to its caller."""
    document = job_document(job)
    if not caller.is_operator:
        del document["caller"]
    return {**document, "error": public(told_error(job.error)) if job.error is not None else None}


def full_queue(full: QueueFullError, plugin: str) -> RequestError:
    """Return the refusal of a job that there is no room for."""
    if isinstance(full, TooLargeError):
        return RequestError(HttpError.PAYLOAD_TOO_LARGE, str(full), plugin=plugin)
    return RequestError(ErrorType.OVERLOADED, str(full), plugin=plugin, details=full.details)


def _retried(doors: Doors, caller: Caller, job: Job) -> Job:
    try:
        retried = doors.backend.jobs.retry_job(job.id, caller.scope)
    except NotDeadError as error:
        raise RequestError(HttpError.CONFLICT, str(error), plugin=job.plugin) from None
    except QueueFullError as full:
        raise full_queue(full, job.plugin) from None
    return job if retried is None else retried


def told_error(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job's error without the names of other plugins, which its caller may not see."""
    if error["type"] != ErrorType.PLUGIN_NOT_FOUND:
        return error
    return {**error, "message": f"there is no plugin {error.get('plugin')!r} any more"}
