"""What a request's body costs in memory, while it is read and while its call runs."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest
from starlette.requests import Request

from tests.api.http.conftest import spin
from toolrunner.api.http.bodies import Wanted, read_wanted

SIZE = 8 << 20
PIECE_BYTES = 1 << 15
PART = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


async def read(body: bytes, media_type: bytes) -> tuple[Wanted, float]:
    """Return what is wanted once no more than that is held, and the most that was, in ``SIZE``."""

    async def receive() -> dict[str, Any]:
        nonlocal body
        piece, body = body[:PIECE_BYTES], body[PIECE_BYTES:]
        return {"type": "http.request", "body": piece, "more_body": bool(body)}

    scope = {"type": "http", "app": None, "headers": [(b"content-type", media_type)]}
    request = Request(scope, receive)
    tracemalloc.start()
    try:
        wanted = await read_wanted(request)
        most = tracemalloc.get_traced_memory()[1]
        # The thread that has parsed it lets go of it right after it has answered.
        spin(lambda: tracemalloc.get_traced_memory()[0] < 1.5 * SIZE)
    finally:
        tracemalloc.stop()
        await request.close()
    return wanted, most / SIZE


@pytest.mark.parametrize("is_form", [True, False], ids=["form", "JSON"])
def test_a_payload_is_held_once(is_form: bool) -> None:
    """As what was parsed, and no more as the text that it was parsed from."""
    payload = b'{"text":"' + b"a" * SIZE + b'"}'
    body, media_type = b'{"plugin":"sample","payload":' + payload + b"}", b"application/json"
    if is_form:
        parts = (PART % (b"plugin", b"sample"), PART % (b"payload", payload), b"--B--\r\n")
        body, media_type = b"".join(parts), b"multipart/form-data; boundary=B"
    wanted, most = asyncio.run(read(body, media_type))
    assert wanted.payload == {"text": "a" * SIZE}
    # The body that is still to come, which shrinks by copies here, is two of them.
    assert most < 5.5
