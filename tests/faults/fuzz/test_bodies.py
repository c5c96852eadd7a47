"""Bodies of HTTP requests: what is wanted, or the one error that a request can be refused with.

They go through the product's reader and the real parsers, without a server in front.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from fastapi import Request

from tests.faults.fuzz.mutator import Mutator, try_each
from toolrunner.api.http.bodies import MOST_RETRIES, Wanted, read_wanted
from toolrunner.api.http.errors import RequestError, refusal
from toolrunner.runner.payloads.strict_json import loads

BODIES_A_SLICE = 40
JSON = b'{"plugin": "sample", "payload": {"a": [1, {"b": null}]}, "retries": 2}'
IMAGE = b'{"plugin": "sample", "image": "aGk=", "mime_type": "image/png", "options": {"x": 1}}'
FORM = b"""\
--edge\r
Content-Disposition: form-data; name="plugin"\r
\r
sample\r
--edge\r
Content-Disposition: form-data; name="image"; filename="a.png"\r
Content-Type: image/png\r
\r
\x89PNG\r\n\x1a\n\r
--edge\r
Content-Disposition: form-data; name="options"\r
\r
{"x": [1, "\xc3\xa9"]}\r
--edge\r
Content-Disposition: form-data; name="retries"\r
\r
3\r
--edge--\r
"""
FORM_TYPE = b"multipart/form-data; boundary=edge"
HEADERS = b"content-type: "
END = b"\r\n\r\n"
CORPUS = (
    HEADERS + b"application/json" + END + JSON,
    HEADERS + b"Application/JSON ; charset=x" + END + IMAGE,
    HEADERS + FORM_TYPE + END + FORM,
    HEADERS + FORM_TYPE + b"; charset=UTF-8" + END + FORM,
)
# Bytes that have failed once, or are the shortest way to what once was a danger.
KNOWN = (
    *(
        HEADERS + FORM_TYPE + b"; charset=" + charset + END + FORM.replace(b"sample", text)
        for charset in (b"undefined", b"punycode", b"utf-7", b"unicode_escape", b"\x00", b"\xff")
        for text in (b"+2AA-", b"\\ud800")
    ),
    HEADERS + FORM_TYPE + END + FORM.replace(b"sample", b"\xed\xa0\x80"),
    HEADERS + FORM_TYPE + END + FORM.replace(b"edge", b""),
    HEADERS + b"multipart/form-data" + END + FORM,
    HEADERS + b"multipart/form-data; boundary=" + b"e" * 300 + END + FORM,
    HEADERS + FORM_TYPE + END + FORM.replace(b"3\r", b"9" * 5000 + b"\r"),
    HEADERS + FORM_TYPE + END + FORM.replace(b"3\r", "\u0663".encode() + b"\r"),
    HEADERS + b"application/json" + END + b"[" * 100_000,
    HEADERS + b"application/json" + END + JSON.replace(b"2}", b"1e300}"),
    HEADERS + b"application/json" + END + JSON.replace(b"2}", b"true}"),
    END,
)


def request_of(data: bytes) -> Request:
    """Return a request whose content type stands before an empty line, its body after it.

    The body comes in as many pieces as its bytes decide.
    """
    head, _, body = data.partition(END)
    head = head.removeprefix(HEADERS)
    random = Random(zlib.crc32(data))
    cuts = sorted({random.randrange(len(body) + 1) for _ in range(random.choice((0, 1, 9)))})
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    messages = [
        {"type": "http.request", "body": piece, "more_body": index < len(cuts)}
        for index, piece in enumerate(pieces)
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    # With an app, as it always is, a form that is none is an HTTPException.
    scope = {"type": "http", "app": None, "headers": [(b"content-type", head)]}
    return Request(scope, receive)


async def read(data: bytes, *, is_job: bool) -> Wanted:
    """Read it, and close what was uploaded, as each route does."""
    request = request_of(data)
    try:
        return await read_wanted(request, is_job=is_job)
    finally:
        await request.close()


def check_body(data: bytes) -> int:
    """Read a request's body as both of its doors do."""
    for is_job in (False, True):
        try:
            wanted = asyncio.run(read(data, is_job=is_job))
        except RequestError as error:
            check_answer(refusal(error).status_code)
        else:
            check_wanted(wanted, is_job=is_job)
    return 2


def check_answer(status: int) -> None:
    """It is the caller who is told to do otherwise."""
    assert 400 <= status < 500


def check_wanted(wanted: Wanted, *, is_job: bool) -> None:
    """What was read can be written again: no text of it is none."""
    assert wanted.plugin.encode()
    assert 0 <= wanted.retries <= (MOST_RETRIES if is_job else 0)
    for name, value in wanted.payload.items():
        if name == "image" and isinstance(value, bytes):
            continue
        loads(json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode())


@pytest.mark.usefixtures("part")
def test_a_body_is_what_is_wanted_or_is_refused(
    seed: str, mutator: Mutator, count: Callable[[str, int], None]
) -> None:
    """No request, however garbled, is a bug of the server."""
    count("bodies", try_each(seed, mutator.cases(CORPUS, BODIES_A_SLICE // 2), check_body))


@pytest.mark.parametrize("data", [*CORPUS, *KNOWN], ids=range(len(CORPUS) + len(KNOWN)))
def test_bodies_that_failed_once(data: bytes) -> None:
    """Whoever wrote them, and however they came up."""
    check_body(data)


def test_a_corpus_that_means_something() -> None:
    """What is mutated is accepted as it is: else only the refusals were tried."""
    for data in CORPUS:
        assert asyncio.run(read(data, is_job=True)).plugin == "sample"
