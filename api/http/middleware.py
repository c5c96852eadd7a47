"""What every request goes through before it reaches a route, whether there is one or not.

It gets an id, its body is counted, its answer gets the headers that all answers have, and its error
goes to the log. A bug below ends here, as an answer of the one shape.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolrunner.api.http.context import PLUGIN, REQUEST_ID, TRACEPARENT, traceparent_of
from toolrunner.api.http.errors import HttpError, RequestError, bug, refusal
from toolrunner.api.http.held import MOST_HELD
from toolrunner.runner.errors import ErrorType

_LOG = logging.getLogger("toolrunner.http")
_MEGABYTE = 1 << 20
# The audit log has what was run. This log has by default what somebody may want to look into.
_FIRST_ERROR = 400
_SLOW_MS = 5000
# A body may take this long, and longer by its size at the least rate.
PATIENCE_SECONDS = 20.0
LEAST_BYTES_A_SECOND = 10_000

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Outermost:
    """Identity, headers, the log and the last resort. Pure ASGI, so that streams stay streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        REQUEST_ID.set(request_id)
        PLUGIN.set("")
        TRACEPARENT.set(traceparent_of(Headers(scope=scope).get("traceparent")))
        started = time.monotonic()
        scope.setdefault("state", {})["started"] = started
        status = 0

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, answering)
        except Exception:
            _LOG.exception("request %s failed: a bug", request_id)
            if status:
                raise  # half an answer is out: the connection has to break
            await bug()(scope, receive, answering)
        finally:
            milliseconds = round((time.monotonic() - started) * 1000)
            is_notable = status >= _FIRST_ERROR or milliseconds >= _SLOW_MS
            level = logging.INFO if is_notable else logging.DEBUG
            path = scope["path"][:200]
            _LOG.log(level, "%s %r %d in %d ms", scope["method"], path, status, milliseconds)


class BodyLimit:
    """Refuses bodies that are too large, announced or not, that hardly come, or are too many."""

    def __init__(self, app: ASGIApp, megabytes: int) -> None:
        """``megabytes`` for each; a few of that size may be held at once."""
        self._app = app
        self._megabytes = megabytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._megabytes * _MEGABYTE
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            await refusal(self._too_large())(scope, receive, send)
            return
        taken = 0
        started = time.monotonic()
        is_whole = False

        async def counting() -> Message:
            nonlocal taken, is_whole
            if is_whole:  # what comes now is the client's leaving, whenever that is
                return await receive()
            left = started + PATIENCE_SECONDS + taken / LEAST_BYTES_A_SECOND - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    message = await receive()
            except TimeoutError:
                raise _too_slow() from None
            is_whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            taken += size
            self._held += size
            if taken > most:
                raise self._too_large()
            if self._held > most * MOST_HELD:
                raise _too_many()
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._held -= taken

    def _too_large(self) -> RequestError:
        message = f"the body is larger than {self._megabytes} MB, the most that is read here"
        message += " (max_body_mb)"
        return RequestError(HttpError.PAYLOAD_TOO_LARGE, message, headers=_CLOSING)


def _too_slow() -> RequestError:
    message = f"the body comes too slowly; send at least {LEAST_BYTES_A_SECOND:,} bytes a second"
    return RequestError(ErrorType.VALIDATION_ERROR, message, headers=_CLOSING)


def _too_many() -> RequestError:
    return RequestError(
        ErrorType.OVERLOADED,
        "too many large requests are being read; try again later",
        headers={**_CLOSING, "Retry-After": "1"},
        details={"retry_after_seconds": 1},
    )


# What has not been read stands between this request and the next on the connection.
_CLOSING = {"Connection": "close"}
