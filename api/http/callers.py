"""Who asks: the key that a request carries, what it may do, and how often.

Without keys every caller is the same, and who comes over the loopback is the operator. What is
refused is audited.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, doors_of
from toolrunner.api.http.errors import HttpError, Reason, RequestError
from toolrunner.api.key import Key, Keys, Role
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.hosts import name_in
from toolrunner.runner.names import unknown

_BEARER = "bearer "
# A body that has come faster was read as good as at once.
LOOK_AGAIN_SECONDS = 0.25
_OWN_SITES = {"none", "same-origin"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``id`` is the key's name, and "" where no keys are in use."""

    id: str = ""
    plugins: tuple[str, ...] | None = None
    is_operator: bool = False
    key: Key | None = None

    @property
    def key_id(self) -> str:
        """The id of the key; "" where no keys are in use."""
        return "" if self.key is None else self.key.id

    @property
    def scope(self) -> str | None:
        """Whose jobs this caller sees: its own, and the operator everybody's, which is ``None``."""
        return None if self.is_operator else self.id

    def may_use(self, plugin: str) -> bool:
        """Whether this caller may use, and see, a plugin."""
        allowed = self.plugins
        # Who may use a plugin may use each of its tools.
        return allowed is None or plugin in allowed or plugin.partition(":")[0] in allowed

    def unknown(self, plugin: str, known: Iterable[str]) -> str:
        """Return what to say of a plugin that is none of the known ones, and of no other one."""
        return unknown(plugin, [name for name in known if self.may_use(name)])

    def told(
        self, plugin: str, error: Mapping[str, Any], known: Callable[[], Iterable[str]]
    ) -> Mapping[str, Any]:
        """Return a call's error without names of plugins that this caller may not see."""
        if error["type"] != ErrorType.PLUGIN_NOT_FOUND or self.plugins is None:
            return error
        return {**error, "message": self.unknown(plugin, known())}

    def insist(self, plugin: str) -> None:
        """Raise RequestError when this caller may not use a plugin."""
        if not self.may_use(plugin):
            near = difflib.get_close_matches(plugin[:100], self.plugins or (), 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            allowed = ", ".join(self.plugins or ()) or "none"
            message = f"this key does not allow the plugin; {hint}those that it allows: {allowed}"
            raise RequestError(HttpError.FORBIDDEN, message, plugin=plugin)


async def caller_of(request: Request, doors: Annotated[Doors, Depends(doors_of)]) -> Caller:
    """Return who asks; raises RequestError for a key that is missing, unknown or too busy."""
    return await _caller(request, doors, free=None)


async def may_stay(doors: Doors, caller: Caller) -> bool:
    """Whether the key of a caller whose request goes on has not been revoked."""
    if doors.keys is None or caller.key is None:
        return True
    try:
        return bool(await run_in_threadpool(doors.keys.living, [caller.key_id]))
    except (sqlite3.Error, OSError):  # then nobody is let in, and who is in may stay
        return True


@asynccontextmanager
async def while_reading(doors: Doors, caller: Caller) -> AsyncIterator[None]:
    """Read a body in this block; raises RequestError if the key was revoked before its end.

    A client may take its time for that, and what it asks for has not begun.
    """
    began = time.monotonic()
    yield
    if time.monotonic() - began >= LOOK_AGAIN_SECONDS and not await may_stay(doors, caller):
        raise no_key(Reason.REVOKED_KEY)


async def operator_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Return the operator who asks; raises RequestError for everybody else."""
    _insist_on_operator(caller)
    return caller


async def scraper_of(request: Request, doors: Annotated[Doors, Depends(doors_of)]) -> Caller:
    """Do what operator_of does, but hold nothing against the operator's rate.

    While keys cannot be read, one that this process has seen before still counts here.
    """
    caller = await _caller(request, doors, free=Role.OPERATOR)
    _insist_on_operator(caller)
    return caller


def may_see_plugins(request: Request, doors: Doors) -> bool:
    """Whether the names of plugins may be in an answer that needs no key: not where keys are."""
    if doors.keys is None:
        return True
    token = _token_of(request)
    try:
        key = doors.keys.verify(token) if token else None
    except (sqlite3.Error, OSError):
        return False
    return key is not None and key.role is Role.OPERATOR


async def _caller(request: Request, doors: Doors, *, free: Role | None) -> Caller:
    """Return who asks. ``free``: keys of that role may ask as often as they want."""
    if doors.keys is None:
        _insist_on_own_pages(request)
        return Caller(is_operator=_came_by_loopback(request))
    token = _token_of(request)
    if not token:
        count_keyless(request, doors)
        message = "a key is needed: send it as Authorization: Bearer KEY, or as X-API-Key"
        raise unauthorized(message, Reason.NO_KEY)
    try:
        key, seconds = await run_in_threadpool(_looked_up, doors.keys, token, free)
    except (sqlite3.Error, OSError) as error:
        key, seconds = doors.keys.remembered(token) if free is Role.OPERATOR else None, 0.0
        if key is None:
            raise unreadable() from error
    if key is None or key.revoked_at is not None:
        # Whose it was is for the logs. It is no key any more: what comes with it is no key's.
        request.state.caller = "" if key is None else key.name
        count_keyless(request, doors)
        raise no_key(Reason.UNKNOWN_KEY if key is None else Reason.REVOKED_KEY)
    return admitted(request, key, seconds)


def admitted(request: Request, key: Key, seconds: float) -> Caller:
    """Return who asks with a valid key; raises RequestError if it has to wait for so long."""
    # Known to the audit of whatever comes next, a refusal included.
    request.state.caller, request.state.key = key.name, key.id
    if seconds > 0:
        raise _too_often(key, seconds)
    return Caller(key.name, key.plugins, key.role is Role.OPERATOR, key)


def _looked_up(keys: Keys, token: str, free: Role | None) -> tuple[Key | None, float]:
    """Return a token's key, and the seconds that it has to wait: in one step.

    One that was revoked is returned as well.
    """
    key = keys.identify(token)
    is_counted = key is not None and key.revoked_at is None and key.role is not free
    return key, keys.take(key) if key is not None and is_counted else 0.0


def _insist_on_operator(caller: Caller) -> None:
    if caller.is_operator:
        return
    message = (
        "this is for the operator: make a key with `toolrunner keys create NAME --role operator`"
    )
    if caller.key is None:
        message += " and serve with --keys, or ask over the loopback"
    raise RequestError(HttpError.FORBIDDEN, message)


def _came_by_loopback(request: Request) -> bool:
    """Whether the connection's own end is a loopback address, which nobody else can reach."""
    server = request.scope.get("server")
    try:
        address = ipaddress.ip_address(server[0].partition("%")[0]) if server else None
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def count_keyless(request: Request, doors: Doors) -> None:
    """Raise RequestError when too many requests without a key have come from an address."""
    seconds = doors.clients.take(request.client.host if request.client else "")
    if seconds > 0:
        raise RequestError(
            HttpError.RATE_LIMITED,
            "too many requests without a key from this address; try again later, with one",
            details={"retry_after_seconds": math.ceil(seconds)},
            reason=Reason.RATE_WITHOUT_KEY,
        )


def _too_often(key: Key, seconds: float) -> RequestError:
    return RequestError(
        HttpError.RATE_LIMITED,
        f"the key allows {key.per_minute} requests a minute; try again later",
        details={"retry_after_seconds": math.ceil(seconds)},
        reason=Reason.RATE_OF_KEY,
        words=f"{Reason.RATE_OF_KEY}: {key.per_minute} a minute",
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
    name = name_in(host)
    try:
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _token_of(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return request.headers.get("x-api-key", "").strip()


def unreadable() -> RequestError:
    """Return the refusal of everybody while keys cannot be read."""
    message = "the server cannot read its keys, and so lets nobody in; its /readyz says why"
    return RequestError(ErrorType.OVERLOADED, message, details={"retry_after_seconds": 10})


def no_key(reason: Reason) -> RequestError:
    """Return the refusal of a key that is none, or none any more."""
    message = "the key is unknown or has been revoked; ask the operator for another one"
    return unauthorized(message, reason)


def unauthorized(message: str, reason: Reason) -> RequestError:
    """Return the refusal of who has not said who it is."""
    headers = {"WWW-Authenticate": 'Bearer realm="toolrunner"'}
    return RequestError(HttpError.UNAUTHORIZED, message, headers=headers, reason=reason)


FromCaller = Annotated[Caller, Depends(caller_of)]
FromOperator = Annotated[Caller, Depends(operator_of)]
FromScraper = Annotated[Caller, Depends(scraper_of)]
