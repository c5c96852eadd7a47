"""Errors of the page as pages: whatever refuses a request, its JSON becomes something to read.

Outside of everything else, so that no refusal passes it by. Who has not signed in is led there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolrunner.api.page.rendering import HEADERS, Rendering

LOGIN = "/page/login"
_FIRST_ERROR = 400
_UNAUTHORIZED = 401
_MOST_BYTES = 1 << 20
# Of the answer that is shown; what describes its body is another now.
_DROPPED = {"content-length", "content-type", "content-security-policy", "referrer-policy"}
# A link on another site, for which a browser leaves the cookie at home.
_FROM_ELSEWHERE = {"cross-site", "same-site"}


def is_of_page(path: str) -> bool:
    """Whether people look at a path, and not programs."""
    return path in {"/", "/page", "/docs"} or path.startswith("/page/")


def safe_next(given: str) -> str:
    """Return where to go after signing in: a page of ours, whatever was asked for."""
    path = given.partition("?")[0]
    is_plain = given.isascii() and given.isprintable() and "\\" not in given and "//" not in given
    return given if is_plain and is_of_page(path) and path != LOGIN else "/"


class ErrorPages:
    """Shows errors as pages. Pure ASGI, so that streams stay streams."""

    def __init__(self, app: ASGIApp, rendering: Rendering) -> None:
        self._app = app
        self._rendering = rendering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_of_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        started: Message | None = None
        body = b""

        async def showing(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start" and _is_error(message):
                started = message
                return
            if started is None:
                await send(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                response = self._shown(scope, started, body[:_MOST_BYTES])
                started = None
                await response(scope, receive, send)

        await self._app(scope, receive, showing)

    def _shown(self, scope: Scope, started: Message, body: bytes) -> Response:
        status, given = started["status"], Headers(raw=started["headers"])
        headers = {name: value for name, value in given.items() if name not in _DROPPED}
        detail = _detail(body)
        asked = Headers(scope=scope)
        if "hx-request" in asked:
            return self._piece(status, headers, detail)
        if status == _UNAUTHORIZED and scope["method"] in {"GET", "HEAD"}:
            return self._to_login(scope, asked, headers)
        values: dict[str, object] = {"detail": detail, "visitor": scope["state"].get("visitor")}
        if scope["path"] == LOGIN:
            return self._rendering.page("login.html", {**values, "next": "/"}, status, headers)
        values |= {"status": status, "request_id": headers.get("x-request-id", "")}
        return self._rendering.page("error.html", values, status, headers)

    def _piece(self, status: int, headers: dict[str, str], detail: Mapping[str, Any]) -> Response:
        """Return what a script of ours puts into the page that is there."""
        if status == _UNAUTHORIZED:
            headers = {**headers, "HX-Redirect": LOGIN}
        return self._rendering.page("notice.html", {"detail": detail}, status, headers)

    def _to_login(self, scope: Scope, asked: Headers, headers: dict[str, str]) -> Response:
        query = scope["query_string"].decode("latin-1")
        here = f"{scope['path']}?{query}" if query else scope["path"]
        if asked.get("sec-fetch-site") in _FROM_ELSEWHERE:
            # Asked for once more by a page of ours, with the cookie if there is one.
            return self._rendering.page("again.html", {"here": safe_next(here)}, headers=headers)
        response = RedirectResponse(_login_for(here), 303)
        response.headers.update({**HEADERS, **headers})
        return response


def _login_for(here: str) -> str:
    wanted = safe_next(here)
    return LOGIN if wanted == "/" else f"{LOGIN}?next={quote(wanted, safe='')}"


def _is_error(message: Message) -> bool:
    media_type = Headers(raw=message["headers"]).get("content-type", "")
    return message["status"] >= _FIRST_ERROR and media_type.startswith("application/json")


def _detail(body: bytes) -> Mapping[str, Any]:
    """Return what an answer of the API says of its error."""
    try:
        detail = json.loads(body)["detail"]
        return {"type": detail["type"], "message": detail["message"]}
    except (ValueError, KeyError, TypeError):
        return {"type": "InternalError", "message": "something failed; the log says what"}
