"""Jobs: calls that nobody waits for. Each caller has its own; those of others do not exist.

The operator sees those of all callers.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import request_schemas, schemas
from toolrunner.api.http.answers import answer
from toolrunner.api.http.audit import outcome
from toolrunner.api.http.bodies import Wanted, read_wanted
from toolrunner.api.http.callers import Caller, FromCaller, while_reading
from toolrunner.api.http.context import TRACEPARENT
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.events import UNBUFFERED, stream
from toolrunner.api.http.own_jobs import (
    cancelled,
    found,
    full_queue,
    retried,
    shown,
    unsuccessful,
)
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
    openapi_extra=request_schemas.request(is_job=True),
)
async def create_job(
    request: Request,
    doors: FromDoors,
    caller: FromCaller,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Store what analyze would run, and run it when there is room."""
    async with while_reading(doors, caller):
        wanted = await read_wanted(request, is_job=True)
    request.state.plugin = wanted.plugin
    caller.insist(wanted.plugin)
    job = await run_in_threadpool(_stored, doors, caller, wanted, idempotency_key)
    outcome(request, job.status)
    return JSONResponse(shown(job, caller), 202, {"Location": f"/v1/jobs/{job.id}"})


@router.get(
    "",
    summary="Own jobs",
    responses={
        200: schemas.answer("Jobs", "The newest first."),
        **schemas.errors(HttpError.NOT_FOUND, HttpError.FORBIDDEN, ErrorType.OVERLOADED),
    },
)
async def list_jobs(
    doors: FromDoors,
    caller: FromCaller,
    status: Annotated[JobStatus | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 100,
    before: Annotated[str | None, Query(description="A job's id: only older ones.")] = None,
    plugin: Annotated[str | None, Query(description="Only those of a plugin.")] = None,
    dead: Annotated[
        bool | None,
        Query(description="Only those that have failed and can be retried, or only others."),
    ] = None,
    of_caller: Annotated[
        str | None,
        Query(alias="caller", description="Only those of a key's name: for the operator."),
    ] = None,
) -> JSONResponse:
    """The caller's jobs, or all for the operator; for the next page give the last as ``before``."""
    if of_caller is not None and caller.scope not in {None, of_caller}:
        message = "caller: other callers' jobs are for the operator"
        raise RequestError(HttpError.FORBIDDEN, message)
    scope = caller.scope if of_caller is None else of_caller
    if before is not None and not await run_in_threadpool(
        doors.backend.jobs.get_job, before, caller.scope
    ):
        message = "before: there is no such job, or it is kept no longer; begin at the first page"
        raise RequestError(HttpError.NOT_FOUND, message)
    listed = await run_in_threadpool(
        doors.backend.jobs.list_jobs,
        scope,
        status=status,
        plugin=plugin,
        is_dead=dead,
        limit=limit,
        before=before,
    )
    return JSONResponse([shown(job, caller) for job in listed])


@router.get(
    "/{job_id}",
    summary="One job",
    responses={
        200: schemas.answer("Job", "The job."),
        **schemas.errors(HttpError.NOT_FOUND, ErrorType.OVERLOADED),
    },
)
async def get_job(job_id: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """A job as it is now."""
    return JSONResponse(shown(await found(job_id, doors, caller), caller))


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
    async with doors.writers:  # until it is an answer nobody counts it
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
        204: {
            "description": "The job has ended, and nothing comes after that id.",
            "headers": schemas.REQUEST_ID,
            "content": {},
        },
        **schemas.errors(HttpError.NOT_FOUND, ErrorType.OVERLOADED),
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
    after = max(after, last_event_id)
    if job.status.has_ended and not await run_in_threadpool(
        doors.backend.jobs.job_events, job.id, after
    ):
        # An EventSource comes back after each end but this one.
        return Response(status_code=204)
    events = stream(doors, caller, job.id, after)
    return StreamingResponse(events, headers=UNBUFFERED, media_type="text/event-stream")


@router.delete(
    "/{job_id}",
    summary="Cancel a job",
    responses={
        200: schemas.answer("Job", "The job has ended."),
        202: schemas.answer("Job", "The job is being killed."),
        **schemas.errors(HttpError.NOT_FOUND, ErrorType.OVERLOADED),
    },
)
async def cancel_job(
    request: Request, job_id: str, doors: FromDoors, caller: FromCaller
) -> JSONResponse:
    """Kill a job that runs, and forget one that waits. One that has ended stays as it is."""
    job = await cancelled(request, job_id, doors, caller)
    return JSONResponse(shown(job, caller), 200 if job.status.has_ended else 202)


@router.post(
    "/{job_id}/retry",
    summary="Run a dead job again",
    status_code=202,
    responses={
        202: schemas.answer("Job", "The job is PENDING again.", _LOCATION),
        **schemas.errors(
            HttpError.NOT_FOUND,
            HttpError.CONFLICT,
            HttpError.FORBIDDEN,
            HttpError.PAYLOAD_TOO_LARGE,
            ErrorType.OVERLOADED,
        ),
    },
)
async def retry_job(
    request: Request, job_id: str, doors: FromDoors, caller: FromCaller
) -> JSONResponse:
    """Run a job again that has failed by its plugin's or the host's fault, under the same id."""
    job = await retried(request, job_id, doors, caller)
    return JSONResponse(shown(job, caller), 202, {"Location": f"/v1/jobs/{job.id}"})


def _stored(doors: Doors, caller: Caller, wanted: Wanted, idempotency_key: str | None) -> Job:
    if not doors.backend.jobs.takes(wanted.plugin):
        message = caller.unknown(wanted.plugin, doors.backend.plugins.plugin_names())
        raise RequestError(ErrorType.PLUGIN_NOT_FOUND, message)
    submission = Submission(
        wanted.plugin,
        wanted.payload,
        caller.id,
        wanted.retries,
        idempotency_key,
        traceparent=TRACEPARENT.get(),
    )
    try:
        return doors.backend.analysis.submit(submission)[0]
    except IdempotencyConflictError:
        message = "this Idempotency-Key belongs to a job that asks for something else; use another"
        raise RequestError(HttpError.CONFLICT, message, plugin=wanted.plugin) from None
    except QueueFullError as full:
        raise full_queue(full, wanted.plugin) from None


def _result(doors: Doors, job: Job) -> Response:
    result = doors.backend.jobs.job_result(job.id)
    if result is None:
        message = "the result is kept no longer (keep_hours, keep_mb); run the job again"
        raise RequestError(HttpError.NOT_FOUND, message, plugin=job.plugin)
    document: dict[str, Any] = {"result": result, "plugin": job.plugin}
    if artifacts := doors.backend.jobs.job_artifacts(job.id):
        document["artifacts"] = [one.document() for one in artifacts]
    return answer(document)
