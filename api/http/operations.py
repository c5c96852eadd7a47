"""For whoever runs the server: alive, ready, and its figures. The first two need no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.callers import FromScraper, may_see_plugins
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, short_of, without_paths
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.metrics.recording import RECENT_SECONDS
from toolrunner.runner.errors import ErrorType, one_line
from toolrunner.runner.registry.plugin_state import Lack
from toolrunner.runner.registry.suspensions import suspended
from toolrunner.runner.webhooks.addresses import told
from toolrunner.sandbox.shortage import is_shortage

open_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"], route_class=GovernedRoute)

# Of a head that cannot be read; nothing else that a client does is refused here.
_UNREADABLE: dict[int | str, dict[str, Any]] = {
    400: schemas.error_answer(400, [ErrorType.VALIDATION_ERROR])
}


@open_router.get(
    "/healthz",
    summary="Alive",
    responses={200: schemas.answer("Alive", "The server answers."), **_UNREADABLE},
)
async def healthz() -> JSONResponse:
    """Whether the process answers at all. Restart it when it does not."""
    return JSONResponse({"status": "ok"})


@open_router.get(
    "/readyz",
    summary="Ready",
    responses={
        200: schemas.answer("Ready", "Calls can be served."),
        **_UNREADABLE,
        503: schemas.answer("Ready", "Calls cannot be served now; the reasons are listed."),
    },
)
async def readyz(request: Request, doors: FromDoors) -> JSONResponse:
    """Whether calls can be served: not while draining, below the sandbox's floor, or storeless.

    Warnings are of what keeps nobody from being served, and is to be looked at all the same. They
    name plugins where no keys are needed, and to an operator's key, which alone sees paths.
    """
    headers: dict[str, str] = {}
    try:
        reasons, warnings, may_see_paths = await run_in_threadpool(_found, doors, request)
    except Exception as error:
        if not is_shortage(error):
            raise
        reasons, warnings, may_see_paths = [str(short_of(error))], [], False
        headers = {"Retry-After": "1"}
    shown = str if may_see_paths else without_paths
    document = {
        "status": "not ready" if reasons else "ready",
        "reasons": [shown(one) for one in reasons],
        "warnings": [shown(one) for one in warnings],
    }
    return JSONResponse(document, 503 if reasons else 200, headers)


def _found(doors: Doors, request: Request) -> tuple[list[str], list[str], bool]:
    """Return why nobody can be served, what else is to be mended, and whether an operator asks."""
    problems = doors.problems()
    keys = problems.pop("keys")
    reasons = ["draining"] if doors.draining() else []
    reasons += [*doors.backend.not_ready(problems), *([keys] if keys else [])]
    warnings = [words for words in problems.values() if words and words not in reasons]
    aside = doors.backend.counts_set_aside()
    warnings += [aside] if aside else []
    noticed = [_waiting(doors), _suspended(doors), _of_no_use(doors), _untaken(doors)]
    may_see = may_see_plugins(request, doors)
    if may_see:
        warnings += [words for _, found in noticed for words in found]
    else:
        hint = "; ask with an operator's key for which"
        warnings += [f"{summary}{hint}" for summary, found in noticed if found]
    deaths = doors.metrics.deaths() if doors.metrics is not None else 0
    if deaths:
        minutes = RECENT_SECONDS // 60
        warnings.append(f"workers that died in the last {minutes} minutes: {deaths}; see the log")
    return reasons, warnings, may_see and doors.keys is not None


def _waiting(doors: Doors) -> tuple[str, list[str]]:
    """Return in words which jobs no server can run: all together, and by plugin and version."""
    found = doors.backend.stranded()
    summary = f"jobs that no server can run: {sum(one.jobs for one in found)}"
    return summary, [
        f"jobs that no server can run: {one.jobs} of {one.plugin} {one.version or ''}".rstrip()
        + (f": it {why}" if (why := doors.backend.suspended(one.plugin, one.version)) else "")
        for one in found
    ]


def _suspended(doors: Doors) -> tuple[str, list[str]]:
    """Return in words which plugins take no calls: all together, and each by whom."""
    found = [
        f"{one.name} {suspended(one.name, one.suspended_by, one.failures_in_row)}"
        for one in doors.backend.plugins.list_plugins()
        if one.suspended_by
    ]
    return f"plugins that are suspended: {len(found)}", found


def _of_no_use(doors: Doors) -> tuple[str, list[str]]:
    """Return in words which plugins have no manifest that can be used, or a name taken twice.

    What lacks an environment is no damage: it is installed by who wants that plugin.
    """
    lacking = doors.backend.plugins.lacking()
    found = [
        f"{one.name} cannot run: {one_line(one.reason)}"
        for one in doors.backend.plugins.list_plugins()
        if lacking.get(one.name) is Lack.MANIFEST
    ]
    return f"plugins whose manifest cannot be used: {len(found)}", found


def _untaken(doors: Doors) -> tuple[str, list[str]]:
    """Return in words which webhooks have lost messages: all together, and each with the remedy."""
    found = []
    for one in doors.backend.untaken():
        url = told(one.url)
        if one.has_gone:
            found.append(
                f"webhook {url} has answered 410 Gone, and nothing is posted there: take it out of"
                f" the settings, or `toolrunner webhooks retry` once it wants messages again"
            )
        else:
            found.append(
                f"webhook {url}: {one.failed} messages were given up ({one.reason}):"
                " `toolrunner webhooks retry` posts them again"
            )
    return f"webhooks that have not taken all messages: {len(found)}", found


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Figures of all workers, in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **schemas.errors(HttpError.FORBIDDEN, HttpError.NOT_FOUND),
    },
)
async def metrics(doors: FromDoors, _operator: FromScraper) -> Response:
    """Calls by plugin and outcome, latencies, queue, kills, jobs, isolation, build."""
    if doors.metrics is None:
        message = "no figures are kept here"
        raise RequestError(HttpError.NOT_FOUND, message)
    content = await run_in_threadpool(doors.metrics.exposition, doors)
    return Response(content, media_type=doors.metrics.content_type)
