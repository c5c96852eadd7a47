"""``/mcp``: plugins as tools for agents' hosts, by the Model Context Protocol.

It has the keys, limits and audit of every other route. What speaks the protocol is an extra, and is
imported by the first message.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from toolrunner.api.http.agents.agents import Speaker
from toolrunner.api.http.callers import Caller, FromCaller, while_reading
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.mcp.messages import MOST_MESSAGE_MB
from toolrunner.api.mcp_extra import MISSING, is_installed
from toolrunner.sandbox.limits import MIB

router = APIRouter(route_class=GovernedRoute)


@router.api_route("/mcp", methods=["GET", "POST", "DELETE"], include_in_schema=False)
async def speak(request: Request, doors: FromDoors, caller: FromCaller) -> Response:
    """Take a message, or stream what changes, or end what a client has begun."""
    if not is_installed():
        raise RequestError(HttpError.NOT_FOUND, MISSING)
    body = b""
    if request.method == "POST":
        async with while_reading(doors, caller):
            body = await request.body()
        request._body = b""  # which the request would keep until its call has ended
    if len(body) > MOST_MESSAGE_MB * MIB:
        message = f"a message is larger than {MOST_MESSAGE_MB} MB; use POST /v1/analyze"
        raise RequestError(HttpError.PAYLOAD_TOO_LARGE, message)
    return _Exchange(doors, caller, body)


async def _made(doors: Doors) -> Speaker:
    await run_in_threadpool(_imported)
    from toolrunner.api.http.agents.speaking import begun  # noqa: PLC0415 - a second, for this alone

    return await begun(doors)


def _imported() -> None:
    """Import it in a thread, which holds up nobody for long."""
    import toolrunner.api.http.agents.speaking  # noqa: F401, PLC0415 - see above


class _Exchange(Response):
    """What the protocol's own server answers to one request, as it answers it."""

    def __init__(self, doors: Doors, caller: Caller, message: bytes) -> None:
        super().__init__()
        self._doors = doors
        self._caller = caller
        self._message = message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        speaker = await self._doors.agents.speaker(partial(_made, self._doors))
        await speaker.speak(self._caller, self._message, scope, receive, send)
