"""What plugins there are, how they are, and whether they work."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.documents import status_document
from toolrunner.api.http import schemas
from toolrunner.api.http.callers import Caller, FromCaller
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, without_paths
from toolrunner.api.http.route import GovernedRoute
from toolrunner.runner.registry.registry import PluginState, PluginStatus

router = APIRouter(prefix="/v1/plugins", tags=["plugins"], route_class=GovernedRoute)
_SICK = {PluginState.FAILED, PluginState.UNAVAILABLE}


@router.get(
    "",
    summary="All plugins",
    responses={200: schemas.answer("Plugins", "Those the caller may use."), **schemas.errors()},
)
async def list_plugins(doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """A flat list, sorted by name; those that cannot run here carry the reason."""
    statuses = await run_in_threadpool(doors.backend.plugins.list_plugins)
    return JSONResponse([_shown(one) for one in statuses if caller.may_use(one.name)])


@router.get(
    "/{name}",
    summary="One plugin",
    responses={200: schemas.answer("Plugin", "The plugin."), **schemas.errors(HttpError.NOT_FOUND)},
)
async def get_plugin(name: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """One plugin's state, counts and times, of all workers together."""
    return JSONResponse(_shown(await _found(name, doors, caller)))


@router.get(
    "/{name}/health",
    summary="Whether a plugin works",
    responses={200: schemas.answer("Health", "How it is."), **schemas.errors(HttpError.NOT_FOUND)},
)
async def get_health(name: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """Healthy unless it cannot run here, or its last call failed by its own fault."""
    status = await _found(name, doors, caller)
    health = {
        "name": status.name,
        "state": status.state,
        "healthy": status.state not in _SICK,
        "reason": without_paths(status.reason),
    }
    return JSONResponse(health)


async def _found(name: str, doors: Doors, caller: Caller) -> PluginStatus:
    # Those that a key does not name are to it as if they did not exist.
    status = None
    if caller.may_use(name):
        status = await run_in_threadpool(doors.backend.plugins.get_plugin, name)
    if status is None:
        message = f"there is no plugin {name[:100]!r}; GET /v1/plugins lists them"
        raise RequestError(HttpError.NOT_FOUND, message)
    return status


def _shown(status: PluginStatus) -> dict[str, Any]:
    return {**status_document(status), "reason": without_paths(status.reason)}
