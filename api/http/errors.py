"""The one shape of every error over HTTP.

It is ``{"detail": {type, message, details, plugin, timestamp}}``. Governed errors keep theirs,
without what only an operator may see; everything else that a request can meet is made here. Paths
of the host are cut from all texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fastapi.responses import JSONResponse

from toolrunner.api.http.context import REQUEST_ID
from toolrunner.runner.errors import ErrorType, harmless

# A path of two parts or more, unless it goes on from a word, as in image/png or a URL.
_PATH = re.compile(r"(?<![\w.:/~-])/(?:[^\s/'\",:;()<>]+/)+")


class HttpError(StrEnum):
    """The types that only HTTP knows, beside those of governed calls."""

    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    CONFLICT = "Conflict"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType"
    RANGE_NOT_SATISFIABLE = "RangeNotSatisfiable"
    RATE_LIMITED = "RateLimited"


STATUS: dict[str, int] = {
    HttpError.UNAUTHORIZED: 401,
    HttpError.FORBIDDEN: 403,
    HttpError.NOT_FOUND: 404,
    HttpError.METHOD_NOT_ALLOWED: 405,
    HttpError.CONFLICT: 409,
    HttpError.PAYLOAD_TOO_LARGE: 413,
    HttpError.UNSUPPORTED_MEDIA_TYPE: 415,
    HttpError.RANGE_NOT_SATISFIABLE: 416,
    HttpError.RATE_LIMITED: 429,
    ErrorType.INTERNAL_ERROR: 500,
    ErrorType.OVERLOADED: 503,
    ErrorType.SANDBOX_ERROR: 503,
}
_OF_THE_HOST = {ErrorType.INTERNAL_ERROR, ErrorType.OVERLOADED, ErrorType.SANDBOX_ERROR}
_OPERATORS_ONLY = {"log_tail"}


class RequestError(Exception):
    """A request that is refused before it reaches a service. ``headers`` go with the answer."""

    def __init__(
        self,
        kind: HttpError | ErrorType,
        message: str,
        *,
        plugin: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """``message`` says what to do."""
        super().__init__(message)
        self.kind = kind
        self.plugin = plugin
        self.headers = dict(headers or {})
        self.details = dict(details or {})


def invalid(message: str) -> RequestError:
    """Return the error of a malformed request."""
    return RequestError(ErrorType.VALIDATION_ERROR, message)


def status_of(kind: str) -> int:
    """Return the status of an error type; 400 for all that are the plugin's or the caller's."""
    return STATUS.get(kind, 400)


def refusal(error: RequestError) -> JSONResponse:
    """Return the answer to a request that was refused."""
    retryable = error.kind in {HttpError.RATE_LIMITED, ErrorType.OVERLOADED}
    detail = {
        "type": str(error.kind),
        "message": harmless(str(error)),
        "details": {
            "blame": "host" if error.kind in _OF_THE_HOST else "caller",
            "retryable": retryable,
            "request_id": REQUEST_ID.get(),
            **error.details,
        },
        "plugin": error.plugin,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return JSONResponse({"detail": detail}, status_of(error.kind), error.headers)


def bug() -> JSONResponse:
    """Return the answer to a request that met a bug; its traceback is for the log alone."""
    message = f"a bug in the server; its log has the traceback, under request {REQUEST_ID.get()}"
    return refusal(RequestError(ErrorType.INTERNAL_ERROR, message))


def governed(error: Mapping[str, Any]) -> JSONResponse:
    """Return the answer to a call that failed, from the public half of its envelope."""
    detail = public(error)
    headers = {}
    if detail["type"] == ErrorType.OVERLOADED:
        headers["Retry-After"] = str(detail["details"].get("retry_after_seconds", 1))
    return JSONResponse({"detail": detail}, status_of(detail["type"]), headers)


def public(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a governed error may leave: no log, and no path of the host."""
    details = {key: value for key, value in error["details"].items() if key not in _OPERATORS_ONLY}
    cleaned = _cleaned({**error, "details": details})
    assert isinstance(cleaned, dict)
    return cleaned


def without_paths(text: str) -> str:
    """Return a text with each path cut down to its last part."""
    return _PATH.sub("", text)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value
