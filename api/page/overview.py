"""``GET /``: how the server is, for its operator, at one look and live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page import figures
from toolrunner.api.page.live import Pieces, Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.plugin_rows import PluginRow, needing_attention, rows_of
from toolrunner.api.page.visitors import FromOperatorVisitor, Visitor
from toolrunner.api.readiness import Readiness, readiness
from toolrunner.api.version import version
from toolrunner.runner.jobs.job import Job, JobStatus
from toolrunner.runner.jobs.store import Unended
from toolrunner.runner.services.backend import LayerStanding
from toolrunner.runner.services.job_management import EVERYBODY

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)

# What is drawn: its name in the address, and its seconds.
SPANS = {"15m": 900.0, "2h": 7200.0}
_DEFAULT_SPAN = "15m"
_NOW_SECONDS = 60.0
_MOST_PLUGINS = 15
_MOST_JOBS = 8
_ROWS_OF_TABLE = 8
_LIVE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of a cluster that takes jobs."""

    name: str
    workers: int
    plugins: int


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs of all callers, as far as they matter now; ``problem``: why none can be seen."""

    unended: Unended | None
    running: list[Job]
    pending: list[Job]
    failed: list[Job]
    problem: str = ""


@router.get("/page")
async def start() -> Response:
    """Lead to the overview."""
    return RedirectResponse("/", 303)


@router.get("/")
async def overview(
    page: FromPage,
    doors: FromDoors,
    visitor: FromOperatorVisitor,
    span: Annotated[str, Query()] = _DEFAULT_SPAN,
) -> HTMLResponse:
    """How the server is now, and has been."""
    return await run_in_threadpool(_shown, page, doors, visitor, _checked(span))


def subject(page: Page, doors: Doors, visitor: Visitor, name: str) -> Subject:
    """Return what keeps the overview live; ``name`` is the span that is drawn."""
    if not visitor.is_operator:
        message = "this is for the operator"
        raise RequestError(HttpError.FORBIDDEN, message)
    span = _checked(name or _DEFAULT_SPAN)
    return Subject(("overview", span), partial(_pieces, page, doors, span), _LIVE_SECONDS)


def _checked(span: str) -> str:
    if span not in SPANS:
        message = f"span: one of {', '.join(SPANS)}"
        raise RequestError(HttpError.NOT_FOUND, message)
    return span


def _shown(page: Page, doors: Doors, visitor: Visitor, span: str) -> HTMLResponse:
    values = _values(doors, span)
    values |= {
        "layers": _layers(doors),
        "version": version() or "not installed",
        "span": span,
        "spans": SPANS,
        "drawn": json.dumps(figures.drawn(values["points"])),
    }
    return page.show(visitor, "overview.html", live=f"of=overview&name={span}", **values)


def _pieces(page: Page, doors: Doors, span: str) -> Pieces:
    values = _values(doors, span)
    made = {
        name: page.rendering.text(f"overview/{name}.html", **values)
        for name in ("standing", "plugins", "jobs", "boxes", "past")
    }
    return {**made, "drawn": json.dumps(figures.drawn(values["points"]))}


def _values(doors: Doors, span: str) -> dict[str, Any]:
    history = doors.metrics.history if doors.metrics is not None else None
    everywhere = doors.backend.plugins.everywhere()
    rows = rows_of(everywhere, history)
    seconds = SPANS[span]
    found = figures.points(history, seconds) if history is not None else []
    past = figures.spans(history, seconds, _ROWS_OF_TABLE) if history is not None else []
    return {
        "readiness": _readiness(doors),
        "now": figures.latest(history, _NOW_SECONDS) if history is not None else None,
        "points": found,
        "past": past[::-1],
        "in_flight": sum(one.status.in_flight for one in everywhere),
        "plugins": needing_attention(rows)[:_MOST_PLUGINS],
        "plugins_in_all": len(rows),
        "failing": _failures(rows),
        "boxes": [one for one in rows if one.figures.boxes or one.figures.residents],
        "jobs": _jobs(doors),
        "hosts": _hosts(rows),
    }


def _readiness(doors: Doors) -> Readiness:
    return readiness(
        doors.backend,
        doors.problems(),
        is_draining=doors.draining(),
        deaths=doors.metrics.deaths() if doors.metrics is not None else 0,
        names_plugins=True,
    )


def _jobs(doors: Doors) -> Jobs:
    jobs = doors.backend.jobs
    try:
        return Jobs(
            jobs.unended_jobs(),
            jobs.list_jobs(EVERYBODY, status=JobStatus.RUNNING, limit=_MOST_JOBS),
            jobs.list_jobs(EVERYBODY, status=JobStatus.PENDING, limit=_MOST_JOBS),
            jobs.list_jobs(EVERYBODY, status=JobStatus.FAILED, limit=_MOST_JOBS),
        )
    except OSError:  # ``readiness`` says why
        return Jobs(None, [], [], [], "jobs cannot be read now")


def _failures(rows: list[PluginRow]) -> Mapping[str, float]:
    """Return how many calls have failed lately, by the type of their error, the most first."""
    found: dict[str, float] = {}
    for row in rows:
        for kind, number in row.figures.failures.items():
            found[kind] = found.get(kind, 0.0) + number
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _hosts(rows: list[PluginRow]) -> list[Host]:
    workers: dict[str, int] = {}
    plugins: dict[str, set[str]] = {}
    for row in rows:
        for offer in row.offers or ():
            workers[offer.host] = max(workers.get(offer.host, 0), offer.workers)
            plugins.setdefault(offer.host, set()).add(row.status.name)
    return [Host(name, workers[name], len(plugins[name])) for name in sorted(workers)]


def _layers(doors: Doors) -> list[LayerStanding]:
    try:
        return doors.backend.layers()
    except OSError:  # it could not be tried now; ``readiness`` says so
        return []
