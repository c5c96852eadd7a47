"""Runs a plugin for a client that waits, and kills the call of one that has gone."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from toolrunner.api.http import request_schemas, schemas
from toolrunner.api.http.answers import answer_with
from toolrunner.api.http.audit import carried, outcome, record
from toolrunner.api.http.bodies import Wanted, read_wanted
from toolrunner.api.http.callers import Caller, caller_of, while_reading
from toolrunner.api.http.context import PLUGIN, REQUEST_ID, TRACEPARENT
from toolrunner.api.http.doors import Doors, found_in
from toolrunner.api.http.errors import HttpError, governed
from toolrunner.api.http.route import DirectRoute
from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.runner.call import Call
from toolrunner.runner.errors import CancelledBy, ErrorType


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that has ended: its result, with what it gave back beside it, or its error.

    ``error``: of its envelope the public half, as its caller may have it.
    """

    wanted: Wanted
    call: Call
    result: Mapping[str, Any] | None = None
    infos: tuple[ArtifactInfo, ...] = ()
    error: Mapping[str, Any] | None = None


Shown = Callable[[Answered], Response]

router = APIRouter(prefix="/v1", tags=["analyze"], route_class=DirectRoute)


@router.post(
    "/analyze",
    summary="Run a plugin",
    responses={
        200: schemas.answer("Answer", "What the plugin returned."),
        **schemas.errors(
            *ErrorType,
            HttpError.FORBIDDEN,
            HttpError.PAYLOAD_TOO_LARGE,
            HttpError.UNSUPPORTED_MEDIA_TYPE,
        ),
    },
    openapi_extra=request_schemas.request(),
)
async def analyze(request: Request) -> Response:
    """Run a plugin on an image or a payload, and wait for its result and its artifacts.

    A client that goes away ends its call; so does revoking its key.
    """
    doors = found_in(request)
    caller = await caller_of(request, doors)
    async with while_reading(doors, caller):
        wanted = await read_wanted(request)
    return await answered(request, doors, caller, wanted, "analyze", partial(_as_json, request))


async def answered(
    request: Request, doors: Doors, asking: Caller, wanted: Wanted, door: str, shown: Shown
) -> Response:
    """Run a call for a client that waits; ``shown`` makes its answer, in the call's thread."""
    request.state.plugin = wanted.plugin
    asking.insist(wanted.plugin)
    PLUGIN.set(wanted.plugin[:100])
    call = Call(call_id=REQUEST_ID.get(), caller=asking.id)
    call.traceparent, call.door = TRACEPARENT.get(), door
    with doors.guests.during(asking.key_id, partial(call.cancel, CancelledBy.OPERATOR)):
        return await _answer(request, doors, asking, wanted, call, shown)


async def _answer(
    request: Request, doors: Doors, asking: Caller, wanted: Wanted, call: Call, shown: Shown
) -> Response:
    """Answer in a thread of its own; watch meanwhile whether the client is still there."""
    context = contextvars.copy_context()
    work = partial(context.run, _analyzed, request, doors, asking, wanted, call, shown)
    watch = asyncio.ensure_future(_gone(request))
    watch.add_done_callback(lambda done: None if done.cancelled() else call.cancel())
    try:
        # Whoever cancels what awaits here is uvicorn, when the time to drain is over.
        return await doors.threads.run(work, partial(call.cancel, CancelledBy.SERVER))
    finally:
        watch.cancel()


def _analyzed(
    request: Request, doors: Doors, asking: Caller, wanted: Wanted, call: Call, shown: Shown
) -> Response:
    """Run the call; write down and record its answer here, where that holds up nobody."""
    result, envelope = doors.backend.analysis.analyze(wanted.plugin, wanted.payload, call=call)
    if envelope is None:
        infos = [info_of(one) for one in call.artifacts]
        carried(request, infos)
        response = shown(Answered(wanted, call, result, tuple(infos)))
    else:
        outcome(request, envelope["error"]["type"])
        known = doors.backend.plugins.plugin_names
        error = asking.told(wanted.plugin, envelope["error"], known)
        response = shown(Answered(wanted, call, error=error))
    record(request, response)
    return response


def _as_json(request: Request, found: Answered) -> Response:
    if found.error is not None:
        return governed(found.error)
    document: dict[str, object] = {"result": found.result, "plugin": found.wanted.plugin}
    return answer_with(document, found.infos, found.call.artifacts, request)


async def _gone(request: Request) -> None:
    """Return when the client has gone. The body has been read: nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
