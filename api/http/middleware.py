"""What every request goes through before it reaches a route, whether there is one or not.

It gets an id, its body is counted, its answer gets the headers that all answers have, and its error
goes to the log. A bug below ends here, as an answer of the one shape.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolrunner.api.http.clients import Clients
from toolrunner.api.http.context import PLUGIN, REQUEST_ID, TRACEPARENT, traceparent_of
from toolrunner.api.http.errors import (
    REFUSED,
    REFUSED_BECAUSE,
    REFUSED_FOR,
    HttpError,
    RequestError,
    bug,
    refusal,
    short_of,
)
from toolrunner.api.http.held import MOST_HELD, Held, Words, caller_in
from toolrunner.api.http.tracing import CallTracing
from toolrunner.api.metrics.recording import Metrics
from toolrunner.runner.errors import CANCELLED_BY, CancelledBy, ErrorType, cut_end, one_line
from toolrunner.runner.hosts import is_loopback, name_in
from toolrunner.sandbox.shortage import is_shortage

_LOG = logging.getLogger("toolrunner.http")
_MEGABYTE = 1 << 20
# The audit log has what was run. This log has by default what somebody may want to look into.
_FIRST_ERROR = 400
_FIRST_FAULT = 500
_SLOW_MS = 5000
_LONGEST_REASON_BYTES = 300
# How far a body may be behind the least rate, whenever that is: what has come faster before buys no
# longer silence.
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

    def __init__(
        self, app: ASGIApp, clients: Clients, metrics: Metrics | None, *, is_traced: bool
    ) -> None:
        """``clients`` sum up what is refused to those without a key.

        ``is_traced``: there are spans of requests, and this is below them.
        """
        self._app = app
        self._clients = clients
        self._metrics = metrics
        self._is_traced = is_traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._begin(scope)
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
            await _within_means(self._app, scope, receive, answering)
        except asyncio.CancelledError:  # uvicorn's, when the time to drain is over
            if status:
                raise
            await refusal(_too_long())(scope, receive, answering)
        except ClientDisconnect:  # in the middle of its body: nobody is there to be answered
            pass
        except Exception:
            _LOG.exception("request %s failed: a bug", request_id)
            if status:
                raise  # half an answer is out: the connection has to break
            await bug()(scope, receive, answering)
        finally:
            milliseconds = round((time.monotonic() - scope["state"]["started"]) * 1000)
            self._log(scope, status, milliseconds)
            self._count(scope, status)

    def _begin(self, scope: Scope) -> str:
        """Count a request in, and return the id that it gets."""
        request_id = uuid.uuid4().hex
        REQUEST_ID.set(request_id)
        PLUGIN.set("")
        own = CallTracing.current() if self._is_traced else ""
        TRACEPARENT.set(own or traceparent_of(Headers(scope=scope).get("traceparent")))
        scope.setdefault("state", {})["started"] = time.monotonic()
        if self._metrics is not None:
            self._metrics.begun()
        return request_id

    def _log(self, scope: Scope, status: int, milliseconds: int) -> None:
        is_notable = status >= _FIRST_ERROR or milliseconds >= _SLOW_MS
        is_notable = is_notable and is_told(
            self._clients, scope, status, scope["state"].get(REFUSED_FOR, "")
        )
        level = logging.INFO if is_notable else logging.DEBUG
        if _LOG.isEnabledFor(level):
            path, why = scope["path"][:200], _why(scope, status)
            words = "%s %r %d in %d ms%s"
            _LOG.log(level, words, scope["method"], path, status, milliseconds, why)

    def _count(self, scope: Scope, status: int) -> None:
        """Count a request that was answered, by the route of the app and never by its path."""
        if self._metrics is None:
            return
        self._metrics.ended()
        if not status:
            return
        route = str(getattr(scope.get("route"), "path", "none"))
        self._metrics.answered(scope["method"], route, status)
        if refused := scope["state"].get(REFUSED):
            self._metrics.refused(refused, scope["state"].get(REFUSED_FOR, ""))


async def _within_means(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request; refuse it where the host has nothing left for it, as a thread.

    That is no bug, and the line of the request says why.
    """
    has_begun = False

    async def noting(message: Message) -> None:
        nonlocal has_begun
        has_begun = True
        await send(message)

    try:
        await app(scope, receive, noting)
    except Exception as error:
        if has_begun or not is_shortage(error):
            raise
        await refusal(short_of(error))(scope, receive, send)


def _why(scope: Scope, status: int) -> str:
    """Return what the log says of a request that has failed: why, whose it was, and where from."""
    if status < _FIRST_ERROR:
        return ""
    state = scope["state"]
    kind = state.get(REFUSED) or state.get("outcome", "")
    reason = one_line(cut_end(state.get(REFUSED_BECAUSE, ""), _LONGEST_REASON_BYTES))
    what = f"{kind} ({reason})" if kind and reason else kind
    name, client = state.get("caller", ""), scope.get("client")
    parts = [what, f"of the key {name}" if name else "", f"from {client[0]}" if client else ""]
    return ": " + " ".join(part for part in parts if part)


def is_told(clients: Clients, scope: Scope, status: int, reason: str) -> bool:
    """Whether an answer is told by itself, in this log and the audit's, or in a sum of many.

    A sum is of one ``reason`` of its refusals. Those to keys are told: what a key may do is bounded
    already.
    """
    state = scope["state"]
    if status < _FIRST_ERROR or "key" in state:
        return True
    if "is_told" not in state:
        client = scope.get("client")
        what = f"refused with {status}" if status < _FIRST_FAULT else f"failed with {status}"
        what += f" ({reason})" if reason else ""
        state["is_told"] = clients.is_told(client[0] if client else "", what)
    told: bool = state["is_told"]
    return told


class OwnHosts:
    """Refuses what is asked of a name that is not this server's, whatever it asks for.

    Without keys a name that was made to point here (DNS rebinding) would give its page everything.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        """``allowed`` beside the loopback and the address that a client has connected to."""
        self._app = app
        self._allowed = {name.lower().rstrip(".") for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if its ``Host`` may be."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get("host", "")
            host = name_in(given).rstrip(".")
            server = scope.get("server")
            is_own = server is not None and host == server[0]
            if not (is_own or host in self._allowed or is_loopback(host)):
                await refusal(_not_own(given))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _not_own(host: str) -> RequestError:
    message = f"this server is not known as {host[:100]!r}; ask it as localhost, name it in"
    message += " allowed_hosts, or serve with --keys"
    return RequestError(HttpError.FORBIDDEN, message, headers=_CLOSING)


_BODIES = Words(
    "too many large requests of this caller are being read or run; try again later",
    "too many large requests are being read; try again later",
)


class BodyLimit:
    """Refuses bodies that are too large, announced or not, that hardly come, or are too many."""

    def __init__(self, app: ASGIApp, megabytes: int) -> None:
        """``megabytes`` for each; a few of that size may be held at once, and fewer of a caller."""
        self._app = app
        self._megabytes = megabytes
        self._held = Held(MOST_HELD * megabytes * _MEGABYTE, _BODIES)

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
        caller = ""
        patience = PATIENCE_SECONDS
        is_whole = False

        async def counting() -> Message:
            nonlocal taken, caller, patience, is_whole
            if is_whole:  # what comes now is the client's leaving, whenever that is
                return await receive()
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, patience)):
                    message = await receive()
            except TimeoutError:
                raise _too_slow() from None
            is_whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            if taken + size > most:
                raise self._too_large()
            caller = caller or caller_in(scope)  # a body is read when its key has been looked up
            try:
                self._held.take(caller, size)
            except RequestError as too_many:
                # Free at once, or bodies that come at the same time are refused all together.
                self._held.give(caller, taken)
                taken = 0
                too_many.headers.update(_CLOSING)
                raise
            taken += size
            patience += size / LEAST_BYTES_A_SECOND - (time.monotonic() - began)
            patience = min(patience, PATIENCE_SECONDS)
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._held.give(caller, taken)

    def _too_large(self) -> RequestError:
        message = f"the body is larger than {self._megabytes} MB, the most that is read here"
        message += " (max_body_mb)"
        return RequestError(HttpError.PAYLOAD_TOO_LARGE, message, headers=_CLOSING)


def _too_long() -> RequestError:
    message = "the server is ending, and the request took longer than it waits (drain_seconds)"
    details = {CANCELLED_BY: CancelledBy.SERVER}
    return RequestError(ErrorType.CANCELLED, message, headers=_CLOSING, details=details)


def _too_slow() -> RequestError:
    message = f"the body comes too slowly; send at least {LEAST_BYTES_A_SECOND:,} bytes a second"
    message += f", and be silent for no longer than {PATIENCE_SECONDS:g} seconds"
    return RequestError(ErrorType.VALIDATION_ERROR, message, headers=_CLOSING)


# What has not been read stands between this request and the next on the connection.
_CLOSING = {"Connection": "close"}
