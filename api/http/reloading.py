"""``POST /v1/reload``: has the server read its settings and plugins anew, as SIGHUP does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.callers import FromOperator
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, invalid
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.shown import without_paths
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.registry.plugin_changes import PluginChange
from toolrunner.runner.settings.changes import Change

router = APIRouter(prefix="/v1", tags=["operations"], route_class=GovernedRoute)


@router.post(
    "/reload",
    summary="Read settings and plugins anew",
    status_code=202,
    responses={
        202: schemas.answer("Reload", "All workers read them anew now."),
        **schemas.errors(ErrorType.VALIDATION_ERROR, HttpError.FORBIDDEN, HttpError.NOT_FOUND),
    },
)
async def reload(doors: FromDoors, _operator: FromOperator) -> JSONResponse:
    """What SIGHUP does. Settings or paths that cannot be used change nothing.

    A plugin whose own manifest cannot be used is `unavailable` from then on, with the reason.
    """
    if doors.reload is None:
        message = "this server cannot be reloaded"
        raise RequestError(HttpError.NOT_FOUND, message)
    found = await run_in_threadpool(doors.reload)
    if found.refusal:
        raise invalid(f"settings and plugins stay as they were: {without_paths(found.refusal)}")
    document = {
        "changes": [_shown(one, "value", "was", "source") for one in found.changes],
        "plugins": [_shown(one, "reason") for one in found.plugins],
    }
    return JSONResponse(document, 202)


def _shown(change: Change | PluginChange, *with_paths: str) -> dict[str, Any]:
    document = asdict(change)
    return {**document, **{key: without_paths(document[key]) for key in with_paths}}
