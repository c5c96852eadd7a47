"""Signing in to the page with a key, and out again."""

from __future__ import annotations

import sqlite3
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.audit import outcome
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.key import Role
from toolrunner.api.page.error_pages import LOGIN, safe_next
from toolrunner.api.page.forms import form_of
from toolrunner.api.page.page import FromPage
from toolrunner.api.page.visitors import FromVisitor, give_cookie, sign_in, sign_out

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)
# What a caller is not led to after signing in: it would be refused.
_OPERATORS = {"/", "/page"}


@router.get(LOGIN)
async def login_form(
    page: FromPage, doors: FromDoors, wanted: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """The form to sign in with; without keys there is nothing to sign in to."""
    if doors.keys is None:
        return RedirectResponse("/", 303)
    values = {"next": safe_next(wanted), "detail": None, "visitor": None}
    return page.rendering.page("login.html", values)


@router.post(LOGIN)
async def log_in(request: Request, doors: FromDoors) -> Response:
    """Begin a new session, whatever the browser had before, and go where was asked for."""
    token = await sign_in(request, doors)
    outcome(request, "signed in")
    wanted = safe_next((await form_of(request)).get("next", "/"))
    if wanted.partition("?")[0] in _OPERATORS and await run_in_threadpool(_is_caller, doors, token):
        wanted = "/page/plugins"
    response = RedirectResponse(wanted, 303)
    give_cookie(request, response, token)
    return response


@router.post("/page/logout")
async def log_out(request: Request, doors: FromDoors, visitor: FromVisitor) -> Response:
    """End the session, here and for whoever has its cookie."""
    await sign_out(doors, visitor)
    outcome(request, "signed out")
    response = RedirectResponse(LOGIN, 303)
    give_cookie(request, response, "")
    return response


def _is_caller(doors: Doors, token: str) -> bool:
    """Whether a session that has just begun is not the operator's; if that is not known, no."""
    if doors.keys is None or doors.sessions is None:
        return False
    try:
        key = doors.keys.of_id(doors.sessions.found(token))
    except (sqlite3.Error, OSError):
        return False
    return key is not None and key.role is Role.CALLER
