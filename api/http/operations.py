"""For whoever runs the server: alive, ready, and its figures. The first two need no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.callers import FromScraper, may_see_plugins
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, short_of
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.readiness import Readiness, readiness
from toolrunner.runner.errors import ErrorType
from toolrunner.sandbox.shortage import is_shortage

open_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"], route_class=GovernedRoute)

# Of a head that cannot be read; nothing else that a client does is refused here.
_UNREADABLE: dict[int | str, dict[str, Any]] = {
    400: schemas.error_answer(400, [ErrorType.VALIDATION_ERROR])
}


@open_router.get(
    "/healthz",
    summary="Alive",
    responses={200: schemas.answer("Alive", "The server answers."), **_UNREADABLE},
)
async def healthz() -> JSONResponse:
    """Whether the process answers at all. Restart it when it does not."""
    return JSONResponse({"status": "ok"})


@open_router.get(
    "/readyz",
    summary="Ready",
    responses={
        200: schemas.answer("Ready", "Calls can be served."),
        **_UNREADABLE,
        503: schemas.answer("Ready", "Calls cannot be served now; the reasons are listed."),
    },
)
async def readyz(request: Request, doors: FromDoors) -> JSONResponse:
    """Whether calls can be served: not while draining, below the sandbox's floor, or storeless.

    Warnings are of what keeps nobody from being served, and is to be looked at all the same. They
    name plugins where no keys are needed, and to an operator's key, which alone sees paths.
    """
    headers: dict[str, str] = {}
    try:
        found, may_see_paths = await run_in_threadpool(_found, doors, request)
    except Exception as error:
        if not is_shortage(error):
            raise
        found, may_see_paths = Readiness([str(short_of(error))], []), False
        headers = {"Retry-After": "1"}
    document = found.document(shows_paths=may_see_paths)
    return JSONResponse(document, 503 if found.reasons else 200, headers)


def _found(doors: Doors, request: Request) -> tuple[Readiness, bool]:
    """Return whether calls can be served, and whether an operator asks."""
    may_see = may_see_plugins(request, doors)
    found = readiness(
        doors.backend,
        doors.problems(),
        is_draining=doors.draining(),
        deaths=doors.metrics.deaths() if doors.metrics is not None else 0,
        names_plugins=may_see,
        hint="; ask with an operator's key for which",
    )
    return found, may_see and doors.keys is not None


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Figures of all workers, in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **schemas.errors(HttpError.FORBIDDEN, HttpError.NOT_FOUND),
    },
)
async def metrics(doors: FromDoors, _operator: FromScraper) -> Response:
    """Calls by plugin and outcome, latencies, queue, kills, jobs, isolation, build."""
    if doors.metrics is None:
        message = "no figures are kept here"
        raise RequestError(HttpError.NOT_FOUND, message)
    content = await run_in_threadpool(_figures, doors, doors.metrics)
    return Response(content, media_type=doors.metrics.content_type)


def _figures(doors: Doors, metrics: Metrics) -> bytes:
    return metrics.exposition(doors.backend, doors.problems())
