"""For whoever runs the server: alive, ready, and its figures. The first two need no key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.callers import FromCaller
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, without_paths
from toolrunner.api.http.route import GovernedRoute

open_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"], route_class=GovernedRoute)


@open_router.get(
    "/healthz", summary="Alive", responses={200: schemas.answer("Alive", "The server answers.")}
)
async def healthz() -> JSONResponse:
    """Whether the process answers at all. Restart it when it does not."""
    return JSONResponse({"status": "ok"})


@open_router.get(
    "/readyz",
    summary="Ready",
    responses={
        200: schemas.answer("Ready", "Calls can be served."),
        503: schemas.answer("Ready", "Calls cannot be served now; the reasons are listed."),
    },
)
async def readyz(doors: FromDoors) -> JSONResponse:
    """Whether calls can be served: not while draining, below the sandbox's floor, or storeless."""
    reasons = ["draining"] if doors.draining() else []
    reasons += [
        without_paths(reason) for reason in await run_in_threadpool(doors.backend.not_ready)
    ]
    status = "not ready" if reasons else "ready"
    return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Figures of all workers, in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **schemas.errors(HttpError.NOT_FOUND),
    },
)
async def metrics(doors: FromDoors, _caller: FromCaller) -> Response:
    """Calls by plugin and outcome, latencies, queue, kills, jobs, isolation, build."""
    if doors.metrics is None:
        message = "no figures are kept here"
        raise RequestError(HttpError.NOT_FOUND, message)
    content = await run_in_threadpool(doors.metrics.exposition, doors.backend)
    return Response(content, media_type=doors.metrics.content_type)
