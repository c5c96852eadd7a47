"""Who asks: the key that a request carries, what it may do, and how often.

Without keys every caller is the same, and may do everything. What is refused is audited.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, doors_of
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.keys import Key

_BEARER = "bearer "
_OWN_SITES = {"none", "same-origin"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``id`` is the key's, and "" where no keys are in use."""

    id: str = ""
    plugins: tuple[str, ...] | None = None

    def may_use(self, plugin: str) -> bool:
        """Whether this caller may use, and see, a plugin."""
        allowed = self.plugins
        # Who may use a plugin may use each of its tools.
        return allowed is None or plugin in allowed or plugin.partition(":")[0] in allowed

    def insist(self, plugin: str) -> None:
        """Raise RequestError when this caller may not use a plugin."""
        if not self.may_use(plugin):
            message = "this key does not allow the plugin; those that it allows: "
            message += ", ".join(self.plugins or ()) or "none"
            raise RequestError(HttpError.FORBIDDEN, message, plugin=plugin)


async def caller_of(request: Request, doors: Annotated[Doors, Depends(doors_of)]) -> Caller:
    """Return who asks; raises RequestError for a key that is missing, unknown or too busy."""
    if doors.keys is None:
        _insist_on_own_pages(request)
        return Caller()
    token = _token_of(request)
    if not token:
        message = "a key is needed: send it as Authorization: Bearer KEY, or as X-API-Key"
        raise _unauthorized(message)
    key = await run_in_threadpool(doors.keys.verify, token)
    if key is None:
        message = "the key is unknown or has been revoked; ask the operator for another one"
        raise _unauthorized(message)
    # Known to the audit of whatever comes next, a refusal included.
    request.state.caller = key.id
    await _count(doors, key)
    return Caller(key.id, key.plugins)


async def _count(doors: Doors, key: Key) -> None:
    assert doors.keys is not None
    seconds = await run_in_threadpool(doors.keys.take, key)
    if seconds > 0:
        raise RequestError(
            HttpError.RATE_LIMITED,
            f"the key allows {key.per_minute} requests a minute; try again later",
            headers={"Retry-After": str(math.ceil(seconds))},
            details={"retry_after_seconds": math.ceil(seconds)},
        )


def _insist_on_own_pages(request: Request) -> None:
    """Refuse what a page of another site has a browser send: it carries no key, but the user's.

    A name that was made to point here (DNS rebinding) is another site as well; an address is not.
    """
    headers = request.headers
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is None and "sec-fetch-site" not in headers:
        return  # no browser
    host = headers.get("host", "")
    is_own = origin in {None, f"http://{host}", f"https://{host}"}
    if not (is_own and site in _OWN_SITES and _is_address(host)):
        message = "pages of other sites may not call a server without keys; serve with --keys"
        raise RequestError(HttpError.FORBIDDEN, message)


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _token_of(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return request.headers.get("x-api-key", "").strip()


def _unauthorized(message: str) -> RequestError:
    headers = {"WWW-Authenticate": 'Bearer realm="toolrunner"'}
    return RequestError(HttpError.UNAUTHORIZED, message, headers=headers)


FromCaller = Annotated[Caller, Depends(caller_of)]
