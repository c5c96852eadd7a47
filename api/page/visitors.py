"""Who looks at the page: a browser that has signed in with a key, or on loopback the operator.

The cookie counts here alone, never for the API: so a page of another site can have a browser send
it only to what is asked here to come from a page of our own.
"""

from __future__ import annotations

import hmac
import sqlite3
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from toolrunner.api.http.callers import (
    Caller,
    admitted,
    caller_of,
    count_keyless,
    no_key,
    unauthorized,
    unreadable,
)
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, Reason, RequestError
from toolrunner.api.key import Key, Keys
from toolrunner.api.page.forms import form_of, is_form
from toolrunner.api.session import MOST_SECONDS, Sessions, confirmation_of

COOKIE = "toolrunner_session"
# Browsers take one of this name only over TLS, for this host alone and all of its paths.
_SECURE_COOKIE = f"__Host-{COOKIE}"
CONFIRMATION_HEADER = "X-Confirmation"
CONFIRMATION_FIELD = "confirmation"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. ``confirmation``: what each form has to send along.

    ``token``: of the session; "" where no keys are in use.
    """

    caller: Caller
    confirmation: str
    token: str = ""

    @property
    def name(self) -> str:
        """Who it is, for a person; "" where no keys are in use."""
        return self.caller.id

    @property
    def is_operator(self) -> bool:
        """Whether everything is for this visitor to see."""
        return self.caller.is_operator

    def confirms(self, given: str) -> None:
        """Raise RequestError unless ``given`` is what a form of this visitor's pages sends."""
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.confirmation.encode()):
            message = "this form is not of your session any more: load its page again"
            raise RequestError(HttpError.FORBIDDEN, message)


async def visitor_of(request: Request, doors: FromDoors) -> Visitor:
    """Return who looks, or does something: then the request has to be of a page of ours.

    Raises RequestError.
    """
    visitor = await uploader_of(request, doors)
    if request.method != "GET":
        visitor.confirms(await _confirmation_in(request))
    return visitor


async def visitor_if_any(request: Request, doors: Doors) -> Visitor | None:
    """Return who looks at what is everybody's to see; ``None`` for who has not signed in."""
    if doors.keys is not None and not _token_of(request):
        return None
    try:
        return await _visitor(request, doors)
    except RequestError:
        return None


async def uploader_of(request: Request, doors: FromDoors) -> Visitor:
    """Do the same, but leave it to the caller to read the form, and have its field confirmed.

    For forms with files. That they come from a page of ours is seen to.
    """
    if request.method != "GET":
        insist_on_own_form(request)
    visitor = await _visitor(request, doors)
    request.state.visitor = visitor
    return visitor


async def operator_of(visitor: Annotated[Visitor, Depends(visitor_of)]) -> Visitor:
    """Return the operator who looks; raises RequestError for everybody else."""
    if not visitor.is_operator:
        message = "this is for the operator; your own jobs and plugins are on their pages"
        raise RequestError(HttpError.FORBIDDEN, message)
    return visitor


async def still_there(doors: Doors, visitor: Visitor) -> bool:
    """Whether a visitor has neither signed out nor lost the key; without keys always."""
    if doors.keys is None or doors.sessions is None:
        return True
    try:
        key = await run_in_threadpool(_key_of, doors.keys, doors.sessions, visitor.token)
    except (sqlite3.Error, OSError):  # then nobody is let in, and who is in may stay
        return True
    return key is not None


async def sign_in(request: Request, doors: Doors) -> str:
    """Begin a session with the key of a form; return its token. Raises RequestError."""
    insist_on_own_form(request)
    if doors.keys is None or doors.sessions is None:
        message = "no keys are in use here: there is nothing to sign in with"
        raise RequestError(HttpError.NOT_FOUND, message)
    count_keyless(request, doors)
    token = (await form_of(request)).get("key", "").strip()
    try:
        key = await run_in_threadpool(doors.keys.identify, token)
        if key is None or key.revoked_at is not None:
            request.state.caller = "" if key is None else key.name
            raise no_key(Reason.UNKNOWN_KEY if key is None else Reason.REVOKED_KEY)
        admitted(request, key, await run_in_threadpool(doors.keys.take, key))
        return await run_in_threadpool(doors.sessions.begin, key.id)
    except (sqlite3.Error, OSError) as error:
        raise unreadable() from error


async def sign_out(doors: Doors, visitor: Visitor) -> None:
    """End a visitor's session."""
    if doors.sessions is not None:
        await run_in_threadpool(doors.sessions.end, visitor.token)


def give_cookie(request: Request, response: Response, token: str) -> None:
    """Have the browser send a session along from now on; "" has it forget the one it has."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        _SECURE_COOKIE if is_secure else COOKIE,
        token,
        max_age=int(MOST_SECONDS) if token else 0,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )


def insist_on_own_form(request: Request) -> None:
    """Raise RequestError for what a page of another site has a browser send.

    What says neither where it comes from is no browser's, and has to know the confirmation.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        host = headers.get("host", "")
        is_own = origin in {None, f"http://{host}", f"https://{host}"}
    if not is_own:
        message = "this form was not sent by a page of this server"
        if site is None:
            message += "; a proxy before it has to hand on the Host that it is asked for"
        raise RequestError(HttpError.FORBIDDEN, message)


async def _visitor(request: Request, doors: Doors) -> Visitor:
    if doors.keys is None or doors.sessions is None:
        caller = await caller_of(request, doors)
        if not caller.is_operator:
            message = "without keys the page is for who asks over the loopback; serve with --keys"
            raise RequestError(HttpError.FORBIDDEN, message)
        return Visitor(caller, confirmation_of(doors.secret))
    token = _token_of(request)
    if not token:
        count_keyless(request, doors)
        message = "sign in with a key"
        raise unauthorized(message, Reason.NO_KEY)
    try:
        key = await run_in_threadpool(_key_of, doors.keys, doors.sessions, token)
        if key is None:
            count_keyless(request, doors)
            message = "the session has ended: sign in again"
            raise unauthorized(message, Reason.UNKNOWN_KEY)
        seconds = await run_in_threadpool(doors.keys.take, key)
    except (sqlite3.Error, OSError) as error:
        raise unreadable() from error
    return Visitor(admitted(request, key, seconds), confirmation_of(token.encode()), token)


def _key_of(keys: Keys, sessions: Sessions, token: str) -> Key | None:
    """Return the key that a session was begun with, if both are valid still."""
    key_id = sessions.found(token)
    return keys.of_id(key_id) if key_id else None


def _token_of(request: Request) -> str:
    is_secure = request.url.scheme == "https"
    return request.cookies.get(_SECURE_COOKIE if is_secure else COOKIE, "")


async def _confirmation_in(request: Request) -> str:
    given = request.headers.get(CONFIRMATION_HEADER)
    if given is not None:
        return given
    if not is_form(request):
        return ""
    return (await form_of(request)).get(CONFIRMATION_FIELD, "")


FromVisitor = Annotated[Visitor, Depends(visitor_of)]
FromUploader = Annotated[Visitor, Depends(uploader_of)]
FromOperatorVisitor = Annotated[Visitor, Depends(operator_of)]
