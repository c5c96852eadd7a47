"""``/page/jobs``: the visitor's jobs, the operator's those of all callers, and each of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.own_jobs import found
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.live import Pieces, Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.visitors import FromVisitor, Visitor
from toolrunner.runner.jobs.job import Job, JobStatus

router = APIRouter(prefix="/page/jobs", include_in_schema=False, route_class=GovernedRoute)

_A_PAGE = 50
_LIVE_SECONDS = 2.0
# What of them is shown: a status, or one of these.
DEAD = "dead"
_SHOWN = {"": "all", **{str(one): one.lower() for one in JobStatus}, DEAD: "dead"}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are shown; "" is each of them. ``status`` is one, or DEAD."""

    status: str = ""
    plugin: str = ""
    caller: str = ""

    def query(self, **more: str) -> str:
        """Return it as the query of an address."""
        fields = {"status": self.status, "plugin": self.plugin, "caller": self.caller, **more}
        return urlencode({name: value for name, value in fields.items() if value})


def _filter(status: str = "", plugin: str = "", caller: str = "") -> Filter:
    """Return what is asked for; raises RequestError for a status that there is not."""
    if status not in _SHOWN:
        message = f"status: one of {', '.join(name for name in _SHOWN if name)}"
        raise RequestError(HttpError.NOT_FOUND, message)
    return Filter(status, plugin.strip(), caller.strip())


@router.get("")
async def all_jobs(
    page: FromPage,
    doors: FromDoors,
    visitor: FromVisitor,
    status: Annotated[str, Query()] = "",
    plugin: Annotated[str, Query()] = "",
    caller: Annotated[str, Query()] = "",
    before: Annotated[str, Query()] = "",
) -> HTMLResponse:
    """A page of them, the newest first."""
    which = _filter(status, plugin, caller)
    if before:
        await found(before, doors, visitor.caller)
    jobs, has_more = await run_in_threadpool(_listed, doors, visitor, which, before)
    return page.show(
        visitor,
        "jobs.html",
        # What is older does not change any more, but for what is looked at by itself.
        live="" if before else urlencode({"of": "jobs", "name": which.query()}),
        which=which,
        statuses=_SHOWN,
        before=before,
        older=which.query(before=jobs[-1].id) if has_more else "",
        **_values(jobs, visitor),
    )


def subject(page: Page, doors: Doors, visitor: Visitor, name: str) -> Subject:
    """Return what keeps the first page live; ``name`` is its filter."""
    try:
        given = dict(parse_qsl(name, max_num_fields=3))
    except ValueError:
        given = {name: ""}
    if not given.keys() <= {"status", "plugin", "caller"}:
        message = "there is nothing live called that"
        raise RequestError(HttpError.NOT_FOUND, message)
    which = _filter(**given)
    look = partial(_pieces, page, doors, visitor, which)
    return Subject(("jobs", visitor.caller.scope, which), look, _LIVE_SECONDS)


def _pieces(page: Page, doors: Doors, visitor: Visitor, which: Filter) -> Pieces:
    jobs, _ = _listed(doors, visitor, which, "")
    return {"jobs": page.rendering.text("jobs/table.html", **_values(jobs, visitor))}


def _values(jobs: list[Job], visitor: Visitor) -> dict[str, Any]:
    return {"jobs": jobs, "shows_callers": visitor.is_operator and bool(visitor.name)}


def _listed(doors: Doors, visitor: Visitor, which: Filter, before: str) -> tuple[list[Job], bool]:
    """Return a page of jobs, and whether there are older ones."""
    scope = visitor.caller.scope
    # Of another's there are none for who sees only its own.
    if which.caller and scope not in {None, which.caller}:
        return [], False
    jobs = doors.backend.jobs.list_jobs(
        which.caller or scope,
        status=JobStatus(which.status) if which.status not in {"", DEAD} else None,
        plugin=which.plugin or None,
        is_dead=True if which.status == DEAD else None,
        limit=_A_PAGE + 1,
        before=before or None,
    )
    return jobs[:_A_PAGE], len(jobs) > _A_PAGE
