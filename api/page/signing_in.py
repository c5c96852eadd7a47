"""Signing in to the page with a key, and out again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from toolrunner.api.http.audit import outcome
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.error_pages import LOGIN, safe_next
from toolrunner.api.page.forms import form_of
from toolrunner.api.page.page import FromPage
from toolrunner.api.page.visitors import FromVisitor, give_cookie, sign_in, sign_out

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)


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
    response = RedirectResponse(safe_next((await form_of(request)).get("next", "/")), 303)
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
