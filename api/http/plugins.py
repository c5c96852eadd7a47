"""What plugins there are, how they are, and whether they work; the operator's switch for each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.documents import offers_document, status_document
from toolrunner.api.http import schemas
from toolrunner.api.http.audit import outcome
from toolrunner.api.http.callers import Caller, FromCaller, FromOperator
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute, unusable_database, unusable_state
from toolrunner.api.shown import without_paths
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.services.plugin_management import Located

router = APIRouter(prefix="/v1/plugins", tags=["plugins"], route_class=GovernedRoute)
_LOG = logging.getLogger("toolrunner.http")


@router.get(
    "",
    summary="All plugins",
    responses={200: schemas.answer("Plugins", "Those the caller may use."), **schemas.errors()},
)
async def list_plugins(doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """A flat list, sorted by name; those that cannot run here carry the reason."""
    found = await run_in_threadpool(doors.backend.plugins.everywhere)
    return JSONResponse([_shown(one, caller) for one in found if caller.may_use(one.status.name)])


@router.get(
    "/{name}",
    summary="One plugin",
    responses={200: schemas.answer("Plugin", "The plugin."), **schemas.errors(HttpError.NOT_FOUND)},
)
async def get_plugin(name: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """One plugin's state, counts and times, of all workers together."""
    return JSONResponse(_shown(await found_plugin(name, doors, caller), caller))


@router.get(
    "/{name}/health",
    summary="Whether a plugin works",
    responses={200: schemas.answer("Health", "How it is."), **schemas.errors(HttpError.NOT_FOUND)},
)
async def get_health(name: str, doors: FromDoors, caller: FromCaller) -> JSONResponse:
    """Healthy unless it takes no calls, or its last call failed by its own fault."""
    found = await found_plugin(name, doors, caller)
    return JSONResponse({**_shown(found, caller), "healthy": found.status.is_healthy})


@router.post(
    "/{name}/suspend",
    summary="Suspend a plugin",
    responses={
        200: schemas.answer("Plugin", "It takes no calls until it is resumed."),
        **schemas.errors(HttpError.FORBIDDEN, HttpError.NOT_FOUND),
    },
)
async def suspend_plugin(
    request: Request, name: str, doors: FromDoors, operator: FromOperator
) -> JSONResponse:
    """What `plugins disable` does: for all servers of this state folder, also after a restart."""
    found = await switched(request, name, doors, operator, doors.backend.plugins.suspend)
    return JSONResponse(_shown(found, operator))


@router.post(
    "/{name}/resume",
    summary="Resume a plugin",
    responses={
        200: schemas.answer("Plugin", "It takes calls."),
        **schemas.errors(HttpError.FORBIDDEN, HttpError.NOT_FOUND),
    },
)
async def resume_plugin(
    request: Request, name: str, doors: FromDoors, operator: FromOperator
) -> JSONResponse:
    """What `plugins enable` does, whoever has suspended it: the operator or the breaker."""
    found = await switched(request, name, doors, operator, doors.backend.plugins.resume)
    return JSONResponse(_shown(found, operator))


async def switched(
    request: Request, name: str, doors: Doors, operator: Caller, switch: Callable[[str], bool]
) -> Located:
    """Suspend or resume a plugin that there is; return how it stands then."""
    await found_plugin(name, doors, operator)
    request.state.plugin = name
    try:
        await run_in_threadpool(switch, name)
    except OSError as error:
        _LOG.error("plugin %r stays as it was: %s", name, error)
        # Of servers that share their jobs the operator's word is kept in their database.
        is_shared = isinstance(error, StoreError)
        raise (unusable_database() if is_shared else unusable_state(error)) from None
    found = await found_plugin(name, doors, operator)
    by = found.status.suspended_by
    outcome(request, f"suspended by {by}" if by else "resumed")
    return found


async def found_plugin(name: str, doors: Doors, caller: Caller) -> Located:
    """Return a plugin that a caller may use; raises RequestError as if no other one existed."""
    # Those that a key does not name are to it as if they did not exist.
    found = None
    if caller.may_use(name):
        found = await run_in_threadpool(doors.backend.plugins.located, name)
    if found is None:
        message = caller.unknown(name, doors.backend.plugins.plugin_names())
        raise RequestError(HttpError.NOT_FOUND, message)
    return found


def _shown(found: Located, caller: Caller) -> dict[str, Any]:
    status = found.status
    words = {"reason": status.reason, "last_failure": status.last_failure}
    shown = {**status_document(status), **{key: without_paths(one) for key, one in words.items()}}
    if found.offers is not None:
        shown["available_on"] = offers_document(found.offers, with_hosts=caller.is_operator)
    return shown
