"""The protocol over HTTP: the SDK's transport without sessions, and what that leaves to a server.

A client's requests reach any of a server's workers, so none of them keeps anything of a client. A
session is a name that a client repeats: with its key, and the number of a request, it tells which
call a message takes back.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from functools import partial
from typing import Any

from mcp import types
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from toolrunner.api.http.agents.door import Asking, HttpDoor
from toolrunner.api.http.agents.streams import session_mark, streams, written
from toolrunner.api.http.callers import Caller
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import HttpError, RequestError, refusal
from toolrunner.api.http.held import caller_in
from toolrunner.api.http.open_streams import OpenStreams, Stream
from toolrunner.api.mcp.messages import Refused, message_in
from toolrunner.api.mcp.serving import server_of
from toolrunner.api.version import version

_SESSION = re.compile(r"[\x21-\x7e]{1,128}")
_SMALL_BYTES = 1 << 18
_INITIALIZE = "initialize"


async def begun(doors: Doors) -> HttpSpeaker:
    """Return what speaks to agents in this worker, and lives as long as its event loop."""
    open_streams = streams()
    door = HttpDoor(doors, open_streams)
    server = server_of(door, version() or "0", door.listen)
    server.add_notification_handler(
        "notifications/cancelled", types.CancelledNotificationParams, door.withdrawn
    )
    manager = StreamableHTTPSessionManager(
        server, stateless=True, max_request_body_size=doors.backend.settings.max_body_mb << 20
    )
    speaker = HttpSpeaker(doors, manager, open_streams)
    await speaker.begin()
    return speaker


class HttpSpeaker:
    """Serves requests by the SDK's transport."""

    def __init__(
        self, doors: Doors, manager: StreamableHTTPSessionManager, open_streams: OpenStreams
    ) -> None:
        self._doors = doors
        self._streams = open_streams
        self._manager = manager
        self._life: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Have the SDK's tasks run, in one of this loop's."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(ready))
        await asyncio.wait([ready, self._life], return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            await self._life

    async def _live(self, ready: asyncio.Future[None]) -> None:
        async with self._manager.run():
            ready.set_result(None)
            await asyncio.get_running_loop().create_future()

    async def speak(
        self, caller: Caller, message: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one request, whose body has been read."""
        request = Request(scope)
        session = request.headers.get(MCP_SESSION_ID_HEADER, "")
        if session and not _SESSION.fullmatch(session):
            error = RequestError(HttpError.NOT_FOUND, "there is no such session; begin a new one")
            await refusal(error)(scope, receive, send)
            return
        known = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
        is_of_sessions = known is None or known in HANDSHAKE_PROTOCOL_VERSIONS
        if is_of_sessions and request.method in {"GET", "DELETE"}:
            response = self._of_session(request, caller, session)
            await response(scope, receive, send)
            return
        if request.method == "POST":
            given = await _read(message)
            if isinstance(given, Refused):
                await JSONResponse(given.document(), status_code=400)(scope, receive, send)
                return
            if is_of_sessions and not session and given.get("method") == _INITIALIZE:
                send = _with_session(send, uuid.uuid4().hex)
        asking = Asking(caller, session)
        scope["state"]["asking"] = asking
        try:
            await self._manager.handle_request(scope, _again(message, receive), send)
        finally:
            asking.give_back()

    def _of_session(self, request: Request, caller: Caller, session: str) -> Response:
        """Return what is answered to who wants to hear of changes, or to end what he has begun."""
        if request.method == "GET":
            _, takes_events = check_accept_headers(request)
            if takes_events:
                counted = partial(self._streams.counted, caller_in(request.scope))
                return Stream(written(self._doors, caller, session), counted)
            message = "a GET is answered by a stream: send Accept: text/event-stream"
        elif session:
            self._doors.withdrawals.withdraw(session_mark(caller, session))
            return Response(status_code=200)
        else:
            message = "there is no session to end; send its Mcp-Session-Id"
        headers = {"Allow": "DELETE, GET, POST"}
        return refusal(RequestError(HttpError.METHOD_NOT_ALLOWED, message, headers=headers))


async def _read(message: bytes) -> dict[str, Any] | Refused:
    if len(message) > _SMALL_BYTES:
        return await run_in_threadpool(message_in, message)
    return message_in(message)


def _with_session(send: Send, session: str) -> Send:
    """Name a session to who begins one."""

    async def naming(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004 - OK
            MutableHeaders(scope=message)[MCP_SESSION_ID_HEADER] = session
        await send(message)

    return naming


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more, and then what comes behind it."""
    is_due = True

    async def receiving() -> Message:
        nonlocal is_due, body
        if not is_due:
            return await receive()
        is_due = False
        given, body = body, b""
        return {"type": "http.request", "body": given, "more_body": False}

    return receiving
