"""``/page/attacks``: what the shipped attacks have come to on this host, the last time."""

from __future__ import annotations

import collections
import shlex
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.attack_report import Report, read, worst_first
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.page import FromPage
from toolrunner.api.page.visitors import FromOperatorVisitor

router = APIRouter(prefix="/page/attacks", include_in_schema=False, route_class=GovernedRoute)


@router.get("")
async def attacks(page: FromPage, doors: FromDoors, visitor: FromOperatorVisitor) -> HTMLResponse:
    """The last report, or how to make one."""
    state = doors.backend.settings.kept_state()
    report, is_broken = await run_in_threadpool(_read, state)
    cases = [] if report is None else worst_first(report.cases)
    return page.show(
        visitor,
        "attacks.html",
        report=report,
        is_broken=is_broken,
        cases=cases,
        counts=collections.Counter(case.outcome for case in cases),
        command=f"toolrunner doctor --attack --state {shlex.quote(str(state.absolute()))}",
    )


def _read(state: Path) -> tuple[Report | None, bool]:
    """Return the report, and whether there is one that is of no use."""
    try:
        return read(state), False
    except OSError:
        return None, True
