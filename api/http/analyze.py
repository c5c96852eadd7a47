"""Runs a plugin for a client that waits, and kills the call of one that has gone."""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial

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
from toolrunner.runner.artifacts import info_of
from toolrunner.runner.call import Call
from toolrunner.runner.errors import CancelledBy, ErrorType

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
    request.state.plugin = wanted.plugin
    caller.insist(wanted.plugin)
    PLUGIN.set(wanted.plugin[:100])
    call = Call(call_id=REQUEST_ID.get(), caller=caller.id)
    call.traceparent, call.door = TRACEPARENT.get(), "analyze"
    with doors.guests.during(caller.key_id, partial(call.cancel, CancelledBy.OPERATOR)):
        return await _answer(request, doors, caller, wanted, call)


async def _answer(
    request: Request, doors: Doors, asking: Caller, wanted: Wanted, call: Call
) -> Response:
    """Answer in a thread of its own; watch meanwhile whether the client is still there."""
    context = contextvars.copy_context()
    work = partial(context.run, _analyzed, request, doors, asking, wanted, call)
    watch = asyncio.ensure_future(_gone(request))
    watch.add_done_callback(lambda done: None if done.cancelled() else call.cancel())
    try:
        # Whoever cancels what awaits here is uvicorn, when the time to drain is over.
        return await doors.threads.run(work, partial(call.cancel, CancelledBy.SERVER))
    finally:
        watch.cancel()


def _analyzed(
    request: Request, doors: Doors, asking: Caller, wanted: Wanted, call: Call
) -> Response:
    """Run the call; write down and record its answer here, where that holds up nobody."""
    result, envelope = doors.backend.analysis.analyze(wanted.plugin, wanted.payload, call=call)
    if envelope is None:
        infos = [info_of(one) for one in call.artifacts]
        carried(request, infos)
        document = {"result": result, "plugin": wanted.plugin}
        response = answer_with(document, infos, call.artifacts, request)
    else:
        outcome(request, envelope["error"]["type"])
        known = doors.backend.plugins.plugin_names
        response = governed(asking.told(wanted.plugin, envelope["error"], known))
    record(request, response)
    return response


async def _gone(request: Request) -> None:
    """Return when the client has gone. The body has been read: nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
