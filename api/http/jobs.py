"""Jobs: calls that nobody waits for. Each caller has its own; those of others do not exist."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.answers import answer
from toolrunner.api.http.audit import outcome
from toolrunner.api.http.bodies import Wanted, read_wanted
from toolrunner.api.http.callers import Caller, FromCaller
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, governed, public
from toolrunner.api.http.events import stream
from toolrunner.api.http.route import GovernedRoute
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.job import (
    IdempotencyConflictError,
    Job,
    JobStatus,
    QueueFullError,
    Submission,
)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=GovernedRoute)

_LOG = logging.getLogger("toolrunner.http")
_CANCEL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_MOST_LISTED = 1000
_MOST_EVENTS = 2**53
_IDEMPOTENCY_KEY = r"^[\x20-\x7e]{1,200}$"

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="The same request again with the same key is the same job.",
        pattern=_IDEMPOTENCY_KEY,
    ),
]
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where the job is."}}


@router.post(
    "",
    summary="Leave a job",
    status_code=202,
    responses={
        202: schemas.answer("Job", "The job is stored; it survives a crash.", _LOCATION),
        **schemas.errors(
            ErrorType.VALIDATION_ERROR,
            ErrorType.PLUGIN_NOT_FOUND,
            ErrorType.OVERLOADED,
            HttpError.FORBIDDEN,
            HttpError.CONFLICT,
            HttpError.PAYLOAD_TOO_LARGE,
            HttpError.UNSUPPORTED_MEDIA_TYPE,
        ),
    },
    openapi_extra={"requestBody": schemas.body(is_job=True)},
)
async def create_job(
    request: Request,
    doors: FromDoors,
    caller: FromCaller,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Store what analyze would run, and run it when there is room."""
    wanted = await read_wanted(request, is_job=True)
    request.state.plugin = wanted.plugin
    caller.insist(wanted.plugin)
    job = await run_in_threadpool(_stored, doors, caller, wanted, idempotency_key)
    outcome(request, job.status)
    return JSONResponse(_shown(job), 202, {"Location": f"/v1/jobs/{job.id}"})


@router.get(
    "",
    summary="Own jobs",
    responses={200: schemas.answer("Jobs", "The newest first."), **schemas.errors()},
)
async def list_jobs(
    doors: FromDoors,
    caller: FromCaller,
    status: Annotated[JobStatus | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 100,
    before: Annotated[str | None, Query(description="A job's id: only older ones.")] = None,
) -> JSONResponse:
    """The caller's jobs; for the next page give the last id as ``before``."""
    listed = await run_in_threadpool(
        doors.backend.jobs.list_jobs, caller.id, status=status, limit=limit, before=before
    )
    return JSONResponse([_shown(job) for job in listed])


@router.get(
    "/{job_id}",
    summary="One job",
    responses={200: schemas.answer("Job", "The job."), **schemas.errors(HttpError.NOT_FOUND)},
)
async def get_job(job_id: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """A job as it is now."""
    return JSONResponse(_shown(await found(job_id, doors, caller)))


@router.get(
    "/{job_id}/result",
    summary="A job's result",
    responses={
        200: schemas.answer("Answer", "What the plugin returned."),
        **schemas.errors(*ErrorType, HttpError.NOT_FOUND, HttpError.CONFLICT),
    },
)
async def get_result(job_id: str, doors: FromDoors, caller: FromCaller) -> Response:
    """As analyze would have answered, without the data of artifacts: each has an address.

    Conflict until the job has ended.
    """
    job = await found(job_id, doors, caller)
    without_result = unsuccessful(job)
    if without_result is not None:
        return without_result
    return await run_in_threadpool(_result, doors, job)


@router.get(
    "/{job_id}/events",
    summary="A job's events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `progress {fraction, message}` and "
            "`status {status}`. The stream ends with the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **schemas.errors(HttpError.NOT_FOUND),
    },
)
async def get_events(
    job_id: str,
    doors: FromDoors,
    caller: FromCaller,
    last_event_id: Annotated[
        int, Header(ge=0, le=_MOST_EVENTS, description="Only what came after it.")
    ] = 0,
    after: Annotated[
        int, Query(ge=0, le=_MOST_EVENTS, description="The same, for clients without headers.")
    ] = 0,
) -> Response:
    """What has happened to a job so far, and what happens to it from now on."""
    job = await found(job_id, doors, caller)
    events = stream(doors, caller, job.id, max(after, last_event_id))
    return StreamingResponse(events, media_type="text/event-stream")


@router.delete(
    "/{job_id}",
    summary="Cancel a job",
    responses={
        200: schemas.answer("Job", "The job has ended."),
        202: schemas.answer("Job", "The job is being killed."),
        **schemas.errors(HttpError.NOT_FOUND),
    },
)
async def cancel_job(
    request: Request, job_id: str, doors: FromDoors, caller: FromCaller
) -> JSONResponse:
    """Kill a job that runs, and forget one that waits. One that has ended stays as it is."""
    job = await found(job_id, doors, caller)
    request.state.plugin = job.plugin
    await run_in_threadpool(doors.backend.jobs.cancel_job, job_id, caller.id)
    job = await found(job_id, doors, caller)
    deadline = time.monotonic() + _CANCEL_SECONDS
    while not job.status.has_ended and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        job = await found(job_id, doors, caller)
    outcome(request, job.status)
    return JSONResponse(_shown(job), 200 if job.status.has_ended else 202)


def _stored(doors: Doors, caller: Caller, wanted: Wanted, idempotency_key: str | None) -> Job:
    if doors.backend.plugins.get_plugin(wanted.plugin) is None:
        message = f"there is no plugin {wanted.plugin[:100]!r}; GET /v1/plugins lists them"
        raise RequestError(ErrorType.PLUGIN_NOT_FOUND, message)
    submission = Submission(
        wanted.plugin, wanted.payload, caller.id, wanted.retries, idempotency_key
    )
    try:
        return doors.backend.analysis.submit(submission)[0]
    except IdempotencyConflictError:
        message = "this Idempotency-Key belongs to a job that asks for something else; use another"
        raise RequestError(HttpError.CONFLICT, message, plugin=wanted.plugin) from None
    except QueueFullError as full:
        seconds = str(full.details["retry_after_seconds"])
        raise RequestError(
            ErrorType.OVERLOADED,
            str(full),
            plugin=wanted.plugin,
            headers={"Retry-After": seconds},
            details=full.details,
        ) from None
    except (OSError, sqlite3.Error) as error:
        _LOG.exception("a job cannot be stored")
        message = f"the job could not be stored ({type(error).__name__}); it is not accepted"
        raise RequestError(ErrorType.INTERNAL_ERROR, message, plugin=wanted.plugin) from None


def _result(doors: Doors, job: Job) -> Response:
    result = doors.backend.jobs.job_result(job.id)
    if result is None:
        message = "the result is kept no longer (keep_hours, keep_mb); run the job again"
        raise RequestError(HttpError.NOT_FOUND, message, plugin=job.plugin)
    document: dict[str, Any] = {"result": result, "plugin": job.plugin}
    if artifacts := doors.backend.jobs.job_artifacts(job.id):
        document["artifacts"] = [one.document() for one in artifacts]
    return answer(document)


def unsuccessful(job: Job) -> Response | None:
    """Return the answer to whoever wants what a job has brought and it has failed, else ``None``.

    Raises RequestError for one that has not ended, or never ran.
    """
    if not job.status.has_ended:
        message = f"the job is {job.status}; what it brings is there when it has ended"
        raise RequestError(HttpError.CONFLICT, message, plugin=job.plugin)
    if job.error is not None:
        return governed(job.error)
    if job.status is JobStatus.CANCELLED:
        message = "the job was cancelled before it ran"
        raise RequestError(ErrorType.CANCELLED, message, plugin=job.plugin)
    return None


async def found(job_id: str, doors: Doors, caller: Caller) -> Job:
    """Return a job of the caller's; raises RequestError when there is none."""
    job = await run_in_threadpool(doors.backend.jobs.get_job, job_id, caller.id)
    if job is None:
        message = "there is no such job, or it is kept no longer"
        raise RequestError(HttpError.NOT_FOUND, message)
    return job


def _shown(job: Job) -> dict[str, Any]:
    def text(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "id": job.id,
        "plugin": job.plugin,
        "status": job.status,
        "progress": job.progress,
        "created_at": text(job.created_at),
        "started_at": text(job.started_at),
        "ended_at": text(job.ended_at),
        "attempts": job.attempts,
        "error": public(job.error) if job.error is not None else None,
    }
