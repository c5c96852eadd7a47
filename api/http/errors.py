"""The one shape of every error over HTTP.

It is ``{"detail": {type, message, details, plugin, timestamp}}``. Governed errors keep theirs,
without what only an operator may see; everything else that a request can meet is made here, and so
is ``Retry-After``. Paths of the host are cut from all texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from toolrunner.api.http.context import REQUEST_ID
from toolrunner.api.shown import public
from toolrunner.runner import errors
from toolrunner.runner.errors import Blame, ErrorType, harmless, timestamp
from toolrunner.sandbox.shortage import REMEDY, told


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
    HEAD_TOO_LARGE = "HeadTooLarge"


class Reason(StrEnum):
    """Why a request was refused for its key: for logs and figures, and never for who asks."""

    NO_KEY = "no key"
    UNKNOWN_KEY = "unknown key"
    REVOKED_KEY = "revoked key"
    RATE_OF_KEY = "rate of the key"
    RATE_WITHOUT_KEY = "keyless_per_minute"


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
    HttpError.HEAD_TOO_LARGE: 431,
    ErrorType.INTERNAL_ERROR: 500,
    ErrorType.OVERLOADED: 503,
    ErrorType.SANDBOX_ERROR: 503,
}
_UNAVAILABLE = 503
# When to ask again what may do better at any time.
_AGAIN_SECONDS = 1


# Where the state of a request has the type of an error before which nothing ran, its Reason if it
# has one, and what the log says of it.
REFUSED, REFUSED_FOR, REFUSED_BECAUSE = "refused", "refused_for", "refused_because"
_NOTHING_RAN = {
    ErrorType.OVERLOADED,
    ErrorType.PLUGIN_NOT_FOUND,
    ErrorType.PLUGIN_UNAVAILABLE,
    ErrorType.SANDBOX_ERROR,
}


class Refusal(JSONResponse):
    """The answer to a request that was refused, which says so to who counts them."""

    kind = ""
    reason = ""
    words = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        state = scope.setdefault("state", {})
        state[REFUSED], state[REFUSED_FOR] = self.kind, self.reason
        state[REFUSED_BECAUSE] = self.words
        await super().__call__(scope, receive, send)


class RequestError(Exception):
    """A request that is refused before it reaches a service. ``headers`` go with the answer.

    ``Retry-After`` is made of ``retry_after_seconds`` in ``details``.
    """

    def __init__(
        self,
        kind: HttpError | ErrorType,
        message: str,
        *,
        plugin: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
        reason: Reason | None = None,
        words: str = "",
    ) -> None:
        """``message`` says what to do; ``reason`` is for the operator alone.

        So is ``words``: what the log says, if that is not one of these.
        """
        super().__init__(message)
        self.kind = kind
        self.plugin = plugin
        self.headers = dict(headers or {})
        self.details = dict(details or {})
        self.reason = reason
        self.words = words or str(reason or message)


def invalid(message: str) -> RequestError:
    """Return the error of a malformed request."""
    return RequestError(ErrorType.VALIDATION_ERROR, message)


def short_of(error: BaseException) -> RequestError:
    """Return the refusal of a request that the host has nothing left for, as a thread."""
    message = f"the server cannot serve this now: {told(error)}; {REMEDY}"
    return RequestError(
        ErrorType.OVERLOADED, message, details={"retry_after_seconds": _AGAIN_SECONDS}
    )


def has_run_nothing(kind: str) -> bool:
    """Whether an error is one before which nothing ran: those are counted as refusals."""
    return kind in _NOTHING_RAN


def status_of(kind: str, details: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Return the status of an error; 400 for all that are the plugin's or the caller's."""
    if kind == ErrorType.CANCELLED and is_retryable(kind, details):
        return _UNAVAILABLE  # by the server, which ends
    return STATUS.get(kind, 400)


def blame_of(kind: str, details: Mapping[str, Any] = MappingProxyType({})) -> Blame:
    """Return whom an error blames; those that HTTP alone knows, the caller."""
    known = next((one for one in ErrorType if one == kind), None)
    return Blame.CALLER if known is None else errors.blame_of(known, details)


def is_retryable(kind: str, details: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether the same request may do better later."""
    known = next((one for one in ErrorType if one == kind), None)
    return kind == HttpError.RATE_LIMITED if known is None else errors.is_retryable(known, details)


def refusal(error: RequestError) -> JSONResponse:
    """Return the answer to a request that was refused."""
    details = {
        "blame": blame_of(error.kind, error.details),
        "retryable": is_retryable(error.kind, error.details),
        "request_id": REQUEST_ID.get(),
        **error.details,
    }
    status = status_of(error.kind, details)
    detail = {
        "type": str(error.kind),
        "message": harmless(str(error)),
        "details": details,
        "plugin": error.plugin,
        "timestamp": timestamp(datetime.now(UTC)),
    }
    headers = {**error.headers, **_waits(status, details)}
    answer = Refusal({"detail": detail}, status, headers)
    answer.kind, answer.reason = str(error.kind), str(error.reason or "")
    answer.words = error.words
    return answer


def bug() -> JSONResponse:
    """Return the answer to a request that met a bug; its traceback is for the log alone."""
    message = f"a bug in the server; its log has the traceback, under request {REQUEST_ID.get()}"
    return refusal(RequestError(ErrorType.INTERNAL_ERROR, message))


def governed(error: Mapping[str, Any]) -> JSONResponse:
    """Return the answer to a call that failed, from the public half of its envelope."""
    detail = public(error)
    kind = detail["type"]
    made = Refusal if has_run_nothing(kind) else JSONResponse
    status = status_of(kind, detail["details"])
    answer = made({"detail": detail}, status, _waits(status, detail["details"]))
    if isinstance(answer, Refusal):
        answer.kind = kind
    return answer


def kept(error: Mapping[str, Any]) -> JSONResponse:
    """Return the answer to whoever asks how a job has failed: the same however often it is asked.

    So nothing was refused just now, and no time says when to ask again.
    """
    detail = public(error)
    return JSONResponse({"detail": detail}, status_of(detail["type"], detail["details"]))


def _waits(status: int, details: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that says when to ask again: with each 503 that is to be tried again.

    Of a suspended plugin, too: nothing but time helps.
    """
    seconds = details.get("retry_after_seconds")
    if status == _UNAVAILABLE and details["retryable"] and seconds is None:
        seconds = _AGAIN_SECONDS
    return {} if seconds is None else {"Retry-After": str(seconds)}
