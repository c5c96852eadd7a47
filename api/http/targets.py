"""What a request is of, where the standard leaves a choice: HEAD, and slashes that are encoded."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolrunner.api.http.errors import HttpError, RequestError, refusal

_ENCODED_SLASHES = (b"%2f", b"%5c")


class Targets:
    """Answers HEAD wherever there is GET, and refuses slashes that are encoded."""

    def __init__(self, app: ASGIApp, methods_of: Callable[[str], set[str]]) -> None:
        """``methods_of`` says what the routes take at a path."""
        self._app = app
        self._methods_of = methods_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            if any(one in scope.get("raw_path", b"").lower() for one in _ENCODED_SLASHES):
                await refusal(_encoded())(scope, receive, send)
                return
            if scope["method"] == "HEAD" and "HEAD" not in self._methods_of(scope["path"]):
                await self._head(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as GET would, without a body: of a stream its head alone."""

        async def sending(message: Message) -> None:
            # A stream then hears from ``receive`` that the answer is complete, and ends.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, receive, sending)


def _encoded() -> RequestError:
    # A proxy's rules and ours would see two different paths in it.
    message = "a path with an encoded slash is no place here: no name has one in it"
    return RequestError(HttpError.NOT_FOUND, message)
