"""``/page/jobs/{id}``: one job, live until it ends; what it has brought, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import artifacts
from toolrunner.api.http import jobs as api_jobs
from toolrunner.api.http.artifacts import IfNoneMatch, IfRange, WantedRange
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.own_jobs import cancelled, found, retried, shown
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.live import Pieces, Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.rendering import pretty
from toolrunner.api.page.visitors import FromVisitor, Visitor
from toolrunner.api.shown import without_paths
from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.errors import cut_end
from toolrunner.runner.jobs.job import Event, Job, JobStatus

router = APIRouter(prefix="/page/jobs/{job_id}", include_in_schema=False, route_class=GovernedRoute)

_LIVE_SECONDS = 1.0
# What of a result is shown; and what of one is set out over several lines.
_MOST_SHOWN_BYTES = 64 * 1024
_MOST_PRETTY_BYTES = 256 * 1024
_MOST_EVENTS = 50
# Only what browsers decode as pictures, and never as a page or a script.
_PICTURES = {"image/png", "image/jpeg", "image/webp", "image/gif"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A job with all that is shown of it. ``is_cut``: the result is longer."""

    job: Job
    error: Mapping[str, Any] | None
    events: list[Event]
    result: str = ""
    is_cut: bool = False
    artifacts: tuple[ArtifactInfo, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it has run, or has by now; ``None`` before."""
        return _between(self.job.started_at, self.job.ended_at or datetime.now(UTC))

    @property
    def waited_seconds(self) -> float | None:
        """How long it had waited when it was started; ``None`` before."""
        return _between(self.job.created_at, self.job.started_at)

    @property
    def pictures(self) -> list[ArtifactInfo]:
        """The artifacts that are shown as pictures."""
        return [one for one in self.artifacts if one.mime_type in _PICTURES]


@router.get("")
async def one_job(
    page: FromPage, doors: FromDoors, visitor: FromVisitor, job_id: str
) -> HTMLResponse:
    """What a job is, has done and has brought."""
    job = await found(job_id, doors, visitor.caller)
    async with doors.writers:  # a result may be large, and is there twice
        one = await run_in_threadpool(_looked_at, doors, visitor, job)
    live = "" if job.status.has_ended else f"of=job&name={job.id}"
    return page.show(visitor, "job.html", live=live, one=one)


@router.get("/result")
async def result(doors: FromDoors, visitor: FromVisitor, job_id: str) -> Response:
    """The whole result, as the API answers it; a browser saves it."""
    response = await api_jobs.get_result(job_id, doors, visitor.caller)
    if response.status_code == 200:  # noqa: PLR2004 - else it is an error, and becomes a page
        response.headers["Content-Disposition"] = f'attachment; filename="{job_id[:8]}.json"'
    return response


@router.get("/artifacts/{name}")
async def artifact(
    request: Request,
    doors: FromDoors,
    visitor: FromVisitor,
    job_id: str,
    name: str,
    byte_range: WantedRange = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """An artifact, sent as the API sends it: never as something that a browser runs."""
    return await artifacts.get_artifact(
        request, job_id, name, doors, visitor.caller, byte_range, if_range, if_none_match
    )


@router.post("/cancel")
async def cancel(request: Request, doors: FromDoors, visitor: FromVisitor, job_id: str) -> Response:
    """Kill a job that runs, and forget one that waits."""
    job = await cancelled(request, job_id, doors, visitor.caller)
    return RedirectResponse(f"/page/jobs/{job.id}", 303)


@router.post("/retry")
async def retry(request: Request, doors: FromDoors, visitor: FromVisitor, job_id: str) -> Response:
    """Run a dead job again."""
    job = await retried(request, job_id, doors, visitor.caller)
    return RedirectResponse(f"/page/jobs/{job.id}", 303)


def subject(page: Page, doors: Doors, visitor: Visitor, name: str) -> Subject:
    """Return what keeps a job's page live; ``name`` is its id."""
    if doors.backend.jobs.get_job(name, visitor.caller.scope) is None:
        message = "there is no such job, or it is kept no longer"
        raise RequestError(HttpError.NOT_FOUND, message)
    # Its forms are the visitor's own.
    key = ("job", visitor.caller.scope, visitor.confirmation, name)
    return Subject(key, partial(_pieces, page, doors, visitor, name), _LIVE_SECONDS)


def _pieces(page: Page, doors: Doors, visitor: Visitor, job_id: str) -> Pieces:
    job = doors.backend.jobs.get_job(job_id, visitor.caller.scope)
    if job is None:
        return {"over": ""}
    one = _looked_at(doors, visitor, job)
    pieces = {"job": page.rendering.text("jobs/one.html", one=one, visitor=visitor)}
    return {**pieces, "ended": ""} if job.status.has_ended else pieces


def _looked_at(doors: Doors, visitor: Visitor, job: Job) -> Shown:
    jobs = doors.backend.jobs
    events = jobs.job_events(job.id)[-_MOST_EVENTS:]
    error = shown(job, visitor.caller)["error"]
    if job.status is not JobStatus.SUCCESS:
        return Shown(job, error, [_without_paths(one) for one in events])
    text, is_cut = _written(jobs.job_result(job.id))
    brought = tuple(jobs.job_artifacts(job.id))
    return Shown(job, error, [_without_paths(one) for one in events], text, is_cut, brought)


def _between(began: datetime | None, ended: datetime | None) -> float | None:
    if began is None or ended is None:
        return None
    return max(0.0, (ended - began).total_seconds())  # not every host's clock is right


def _without_paths(event: Event) -> Event:
    words = event.data.get("message")
    if not isinstance(words, str):
        return event
    return Event(event.number, event.kind, {**event.data, "message": without_paths(words)})


def _written(result: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Return a result as text, and whether there is more of it."""
    if result is None:
        return "", False
    text = json.dumps(result, ensure_ascii=False)
    if len(text) <= _MOST_PRETTY_BYTES:
        text = pretty(result)
    cut = cut_end(text, _MOST_SHOWN_BYTES)
    return cut, cut != text
