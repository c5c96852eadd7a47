"""Who asks for tools over HTTP, and how their calls are made: as ``POST /v1/analyze`` makes them.

A call is killed when its client goes, when another message takes it back, when its key is revoked,
and when the server's time to drain is over.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from mcp import types
from mcp.server.subscriptions import ListenHandler, ServerEvent, ToolsListChanged
from mcp.shared.exceptions import MCPError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from toolrunner.api.http.agents.streams import call_mark, session_mark
from toolrunner.api.http.audit import carried, outcome, record
from toolrunner.api.http.callers import Caller
from toolrunner.api.http.context import PLUGIN, REQUEST_ID, TRACEPARENT
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import REFUSED, HttpError, RequestError, has_run_nothing
from toolrunner.api.http.events import LOOK_SECONDS
from toolrunner.api.http.held import caller_in
from toolrunner.api.http.open_streams import OpenStreams
from toolrunner.api.mcp.calls import Ended, Error, Wanted, made
from toolrunner.api.mcp.folders import Folders
from toolrunner.api.mcp.names import plugins_by_tool
from toolrunner.api.mcp.results import failed, size_of
from toolrunner.api.mcp.serving import Context
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.call import Call
from toolrunner.runner.errors import CancelledBy, ErrorType, build_error_envelope

# As of other answers, what is smaller is not counted.
_SMALL_BYTES = 256 * 1024
# As long before the end of a server as it may have been closing without being looked at, and more.
_TO_TELL_SECONDS = 2 * LOOK_SECONDS


@dataclass
class Asking:
    """Who asks, in which session, and what is held for him until he has taken his answer."""

    caller: Caller
    session: str
    give_back: Callable[[], None] = field(default=lambda: None)


class HttpDoor:
    """One worker's. What is known of who asks is with each request."""

    def __init__(self, doors: Doors, streams: OpenStreams) -> None:
        """``streams``: those of who listens are counted there."""
        self._doors = doors
        self._streams = streams

    @property
    def folders(self) -> Folders | None:
        """None: no request can name a file of the host."""
        return None

    async def manifests(self, context: Context) -> Mapping[str, Manifest]:
        """Return the plugins that the key of who asks allows."""
        caller = _asking(context).caller
        found = await run_in_threadpool(self._doors.backend.plugins.manifests)
        return {name: one for name, one in found.items() if caller.may_use(name)}

    async def refused(self, context: Context, tool: str) -> None:
        """Audit a call of what is no tool of who asks, whether somebody else has it or not."""
        request = _request(context)
        request.state.plugin = tool
        there = plugins_by_tool(self._doors.backend.plugins.plugin_names())
        is_forbidden = tool in there and not _asking(context).caller.may_use(there[tool])
        kind = HttpError.FORBIDDEN if is_forbidden else ErrorType.PLUGIN_NOT_FOUND
        outcome(request, kind)
        request.scope["state"][REFUSED] = str(kind)
        await run_in_threadpool(record, request, Response())

    def call_of(self, context: Context) -> Call:
        """Return the handle of a call, which has the id of its request."""
        call = Call(call_id=REQUEST_ID.get(), caller=_asking(context).caller.id)
        call.traceparent, call.door = TRACEPARENT.get(), "mcp"
        return call

    async def answered(self, context: Context, wanted: Wanted, call: Call) -> types.CallToolResult:
        """Make a call in a thread of its own."""
        doors, request, asking = self._doors, _request(context), _asking(context)
        name = wanted.manifest.name
        request.state.plugin = name
        PLUGIN.set(name[:100])
        marks = []
        if asking.session and context.request_id is not None:
            marks = [
                session_mark(asking.caller, asking.session),
                call_mark(asking.caller, asking.session, context.request_id),
            ]
        work = partial(contextvars.copy_context().run, self._ended, request, wanted, call)
        ending = asyncio.ensure_future(self._end_in_time(call))
        with (
            _cancelled(ending),
            doors.guests.during(asking.caller.key_id, partial(call.cancel, CancelledBy.OPERATOR)),
            doors.withdrawals.during(marks, call.cancel),
        ):
            ended = await doors.threads.run(work, partial(self._left, call))
        return self._held(request, asking, ended, call)

    async def _end_in_time(self, call: Call) -> None:
        """End a call while it can be told so: once the server's time is over, its stream breaks."""
        await self._closing()
        await asyncio.sleep(max(0.0, self._doors.backend.settings.drain_seconds - _TO_TELL_SECONDS))
        call.cancel(CancelledBy.SERVER)

    async def _closing(self) -> None:
        """Wait until the server waits for nothing but what it has begun."""
        while not self._doors.closing():  # noqa: ASYNC110 - a look each half second, as of jobs' events
            await asyncio.sleep(LOOK_SECONDS)

    def _left(self, call: Call) -> None:
        """End a call that nobody waits for any more: its client has gone, or the server ends."""
        call.cancel(CancelledBy.SERVER if self._doors.closing() else CancelledBy.CALLER)

    def _ended(self, request: Request, wanted: Wanted, call: Call) -> Ended:
        """Make the call, and record it here, where that holds up nobody."""
        ended = made(self._doors.backend.analysis, wanted, call, partial(self._told, request))
        if ended.outcome != "success":
            outcome(request, ended.outcome)
            if has_run_nothing(ended.outcome):
                request.scope["state"][REFUSED] = ended.outcome
        elif ended.artifacts:
            carried(request, ended.artifacts)
        record(request, Response())
        return ended

    def _told(self, request: Request, error: Error) -> Error:
        caller: Caller = request.state.asking.caller
        return caller.told(request.state.plugin, error, self._doors.backend.plugins.plugin_names)

    def _held(
        self, request: Request, asking: Asking, ended: Ended, call: Call
    ) -> types.CallToolResult:
        """Count an answer for its caller until it was taken; refuse it where that is too much."""
        size = size_of(ended.result)
        if size <= _SMALL_BYTES:
            return ended.result
        held, name = self._doors.held, caller_in(request.scope)
        counted = held.counted(size)
        try:
            held.take(name, counted)
        except RequestError as too_many:
            envelope = build_error_envelope(
                ErrorType.OVERLOADED,
                str(too_many),
                plugin=request.state.plugin,
                call_id=call.call_id,
                details=too_many.details,
            )
            return failed(envelope["error"])
        asking.give_back = partial(held.give, name, counted)
        return ended.result

    async def withdrawn(self, context: Context, params: types.CancelledNotificationParams) -> None:
        """Take back a call of the same key and session, in whatever worker it is."""
        asking = _asking(context)
        if asking.session and params.request_id is not None:
            mark = call_mark(asking.caller, asking.session, params.request_id)
            self._doors.withdrawals.withdraw(mark)

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell who asks of changes, until he goes, his key is revoked, or the server ends."""
        caller = _asking(context).caller
        try:
            with self._streams.counted(caller_in(_request(context).scope)):
                return await self._listened(caller, context, params)
        except RequestError as too_many:
            message = str(too_many)
            raise MCPError(types.INVALID_REQUEST, message, dict(too_many.details)) from None

    async def _listened(
        self, caller: Caller, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        handler = ListenHandler(_Bus(self._doors, caller), max_subscriptions=1)
        ending = asyncio.ensure_future(self._end_with_server(handler))
        with _cancelled(ending):
            async with self._doors.guests.while_allowed(caller.key_id):
                return await handler(context, params)
        raise MCPError(types.INVALID_REQUEST, "the key has been revoked")

    async def _end_with_server(self, handler: ListenHandler) -> None:
        await self._closing()
        handler.close()


@contextmanager
def _cancelled(task: asyncio.Future[None]) -> Iterator[None]:
    """Have a task for as long as the block lasts."""
    try:
        yield
    finally:
        task.cancel()


class _Bus:
    """Tells one caller's stream of changed plugins, as the SDK's handler asks for it."""

    def __init__(self, doors: Doors, caller: Caller) -> None:
        self._doors = doors
        self._caller = caller

    async def publish(self, event: ServerEvent) -> None:
        """Nobody publishes here: a reload tells it."""

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Call a listener when a plugin has changed that the caller may use."""

        def heard(plugins: Collection[str]) -> None:
            if any(map(self._caller.may_use, plugins)):
                listener(ToolsListChanged())

        hearing = self._doors.changes.heard_by(heard)
        hearing.__enter__()

        def unsubscribe() -> None:
            with suppress(RuntimeError):  # twice
                hearing.__exit__(None, None, None)

        return unsubscribe


def _request(context: Context) -> Request:
    request = context.request
    assert isinstance(request, Request)
    return request


def _asking(context: Context) -> Asking:
    asking = _request(context).state.asking
    assert isinstance(asking, Asking)
    return asking
