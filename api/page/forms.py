"""Reads the small forms of the page: names and texts, and never a file."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from toolrunner.api.http.errors import HttpError, RequestError, invalid

_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_BYTES = 64 * 1024
_MOST_FIELDS = 32


def is_form(request: Request) -> bool:
    """Whether a request says that it brings one."""
    given = request.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower() == _MEDIA_TYPE


async def form_of(request: Request) -> Mapping[str, str]:
    """Return the fields of a request's form, the last of each name; raises RequestError.

    Whoever asks again gets the same.
    """
    known: Mapping[str, str] | None = getattr(request.state, "form", None)
    if known is not None:
        return known
    if not is_form(request):
        message = "this is no form of the page"
        raise RequestError(HttpError.UNSUPPORTED_MEDIA_TYPE, message)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            message = "the form is too large"
            headers = {"Connection": "close"}
            raise RequestError(HttpError.PAYLOAD_TOO_LARGE, message, headers=headers)
    try:
        text = body.decode("ascii")
        fields = dict(
            parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
        )
    except ValueError:
        message = "the form cannot be read"
        raise invalid(message) from None
    request.state.form = fields
    return fields
