"""Answers that may be large: JSON that is written without stopping the other calls for long."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from toolrunner.api.http.doors import found_in
from toolrunner.api.http.errors import RequestError, refusal
from toolrunner.api.http.held import caller_in
from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.sandbox.artifacts import Artifact

# Bytes that are turned into base64 at once: a multiple of 3, so that the texts can be joined.
_PIECE_BYTES = 48 * 1024
# What is smaller is not counted: as many as there may be connections take little memory.
_SMALL_BYTES = 256 * 1024


def answer(document: object) -> Response:
    """Return a response with a JSON document. Call it in a thread, not in the event loop."""
    return Response(dumps(document), media_type="application/json")


def answer_with(
    document: dict[str, object],
    infos: Sequence[ArtifactInfo],
    artifacts: Sequence[Artifact],
    request: Request,
) -> Response:
    """Return the same with ``artifacts`` in the document, if there are any.

    ``infos`` tells of each of them. Their base64 is made as it is sent: no more than a piece of it
    is in memory. They themselves are until then, and counted for the caller.
    """
    if not artifacts:
        return answer(document)
    before, texts = dumps(document)[:-1] + b',"artifacts":[', []
    for info in infos:
        texts.append(before + dumps(info.document())[:-1] + b',"data":"')
        before = b'"},'
    texts.append(b'"}]}')
    size = sum(map(len, texts)) + sum((len(one.data) + 2) // 3 * 4 for one in artifacts)
    return _Answer(_written(texts, artifacts), size, request)


def bounded(response: Response, request: Request) -> Response:
    """Return a response that is counted for its caller until it was taken, if it is large."""
    body = getattr(response, "body", b"")  # a stream has none
    if len(body) <= _SMALL_BYTES:
        return response
    answer = _Answer(_cut(body), len(body), request)
    answer.status_code, answer.raw_headers = response.status_code, response.raw_headers
    return answer


def while_allowed(request: Request) -> AbstractAsyncContextManager[None]:
    """Return a block that is left when the key of its request is revoked."""
    return found_in(request).guests.while_allowed(getattr(request.state, "key", ""))


class _Answer(StreamingResponse):
    """An answer that is written as it is sent, unless too much is held already."""

    def __init__(self, pieces: AsyncIterator[bytes], size: int, request: Request) -> None:
        headers = {"Content-Length": str(size)}
        super().__init__(pieces, media_type="application/json", headers=headers)
        self._size = size
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            with found_in(self._request).held.holding(caller_in(scope), self._size):
                async with while_allowed(self._request):
                    await super().__call__(scope, receive, send)
        except RequestError as too_much:
            await refusal(too_much)(scope, receive, send)


async def _written(texts: list[bytes], artifacts: Sequence[Artifact]) -> AsyncIterator[bytes]:
    """Yield each text, and behind it the bytes that belong there."""
    for text, one in zip(texts, artifacts, strict=False):
        yield text
        for at in range(0, len(one.data), _PIECE_BYTES):
            yield base64.b64encode(one.data[at : at + _PIECE_BYTES])
    yield texts[-1]


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces: only who waits for one to be taken knows that it was."""
    for at in range(0, len(body), _PIECE_BYTES):
        yield body[at : at + _PIECE_BYTES]
