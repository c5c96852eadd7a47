"""``GET /page/live``: the one stream of a page that is open. What is on it, its query says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page import job, jobs, overview, plugin, plugins
from toolrunner.api.page.live import Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.visitors import FromVisitor, Visitor

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)

# What a subject is made of: which page it is, whose eyes look, and which one of many (a name).
Subjects = Callable[[Page, Doors, Visitor, str], Subject]
_SUBJECTS: dict[str, Subjects] = {
    "overview": overview.subject,
    "plugins": plugins.subject,
    "jobs": jobs.subject,
    "job": job.subject,
    "plugin": plugin.subject,
}


@router.get("/page/live")
async def live(
    request: Request,
    page: FromPage,
    doors: FromDoors,
    visitor: FromVisitor,
    of: Annotated[str, Query()],
    name: Annotated[str, Query()] = "",
) -> Response:
    """What changes on a page, as it changes: pieces of it, each an event by its name."""
    found = _SUBJECTS.get(of)
    if found is None:
        message = f"there is nothing live called {of[:100]!r}"
        raise RequestError(HttpError.NOT_FOUND, message)
    subject = await run_in_threadpool(found, page, doors, visitor, name)
    client = request.client.host if request.client else ""
    return page.live.open(visitor, client, subject)
