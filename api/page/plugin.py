"""``/page/plugins/NAME``: one plugin, whole: what it may, how it stands, what its calls came to.

What lies where on the host, and the calls of others, are the operator's to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api import documents
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.plugins import found_plugin, switched
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.limit_shares import Share, ended_by, shares
from toolrunner.api.metrics.recent import RecentCall
from toolrunner.api.page.live import Pieces, Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.plugin_rows import PluginRow, rows_of
from toolrunner.api.page.trying import example_of, limits_of
from toolrunner.api.page.visitors import FromOperatorVisitor, FromVisitor, Visitor
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.services.plugin_management import Located
from toolrunner.runner.start_mode import Start, start_asked
from toolrunner.sandbox.limits import Limits

router = APIRouter(prefix="/page/plugins", include_in_schema=False, route_class=GovernedRoute)

_LIVE_SECONDS = 2.0
_MOST_LISTED = 24
_OPERATORS_ONLY = ("path", "environment_path", "interpreter", "read", "absent", "from")


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit as it is in force, and what the author asked for where the operator caps it."""

    name: str
    value: float
    unit: str
    at_limit: str
    asked: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended, with its share of each limit."""

    call: RecentCall
    shares: Sequence[Share]

    @property
    def has_run(self) -> bool:
        """Whether anything ran for it, so that it has started somehow."""
        return any(self.call.usage.values())

    @property
    def hit(self) -> Share | None:
        """The limit that has ended it, if one has."""
        return ended_by(self.call.error)

    @property
    def most(self) -> Share | None:
        """The limit that it came the nearest to: the one that has ended it, or else its share."""
        return self.hit or max(self.shares, key=lambda share: share.fraction, default=None)


@router.get("/{name}")
async def one_plugin(
    page: FromPage, doors: FromDoors, visitor: FromVisitor, name: str
) -> HTMLResponse:
    """All about one of them, and a form to try it."""
    found = await found_plugin(name, doors, visitor.caller)
    values = await run_in_threadpool(_values, doors, visitor, found)
    live = urlencode({"of": "plugin", "name": name})
    return page.show(visitor, "plugin.html", live=live, **values)


@router.post("/{name}/suspend")
async def suspend(
    request: Request, doors: FromDoors, operator: FromOperatorVisitor, name: str
) -> Response:
    """Take no more calls of it."""
    await switched(request, name, doors, operator.caller, doors.backend.plugins.suspend)
    return _back(name)


@router.post("/{name}/resume")
async def resume(
    request: Request, doors: FromDoors, operator: FromOperatorVisitor, name: str
) -> Response:
    """Take calls of it again."""
    await switched(request, name, doors, operator.caller, doors.backend.plugins.resume)
    return _back(name)


@router.post("/{name}/load")
async def load(
    request: Request, page: FromPage, doors: FromDoors, operator: FromOperatorVisitor, name: str
) -> HTMLResponse:
    """Load it, to see how its calls start: nothing else can tell."""
    await found_plugin(name, doors, operator.caller)
    request.state.plugin = name
    start = await run_in_threadpool(_started, doors, name)
    return HTMLResponse(page.rendering.text("plugin/start.html", start=start))


def subject(page: Page, doors: Doors, visitor: Visitor, name: str) -> Subject:
    """Return what keeps its figures and its last calls live."""
    key = ("plugin", name, visitor.caller.scope, visitor.caller.plugins)
    return Subject(key, partial(_pieces, page, doors, visitor, name), _LIVE_SECONDS)


def _pieces(page: Page, doors: Doors, visitor: Visitor, name: str) -> Pieces:
    found = doors.backend.plugins.located(name) if visitor.caller.may_use(name) else None
    if found is None:
        return {}
    text, row = page.rendering.text, _row(doors, found)
    known = doors.backend.plugins.known(name)
    pieces = {
        "standing": text("plugin/standing.html", plugin=row),
        "notices": text("plugin/notices.html", plugin=row, visitor=visitor),
        "runs": text("plugin/runs.html", plugin=row),
    }
    if visitor.is_operator:  # they are of all callers
        pieces["figures"] = text("plugin/figures.html", plugin=row)
    return {**pieces, "calls": text("plugin/calls.html", **_calls(doors, visitor, name, known))}


def _back(name: str) -> Response:
    return RedirectResponse(f"/page/plugins/{quote(name, safe='')}", 303)


def _started(doors: Doors, name: str) -> Start:
    try:
        return doors.backend.plugins.start(name)
    except GovernedError as error:
        return Start("failed", (error.message,))


def _row(doors: Doors, found: Located) -> PluginRow:
    return rows_of([found], doors.metrics.history if doors.metrics is not None else None)[0]


def _values(doors: Doors, visitor: Visitor, found: Located) -> dict[str, object]:
    name = found.status.name
    plugins, settings = doors.backend.plugins, doors.backend.settings
    plugin = plugins.known(name)
    about = documents.plugin_document(found.status, plugin, settings, plugins.environment(name))
    if not visitor.is_operator:
        about = {key: value for key, value in about.items() if key not in _OPERATORS_ONLY}
    return {
        "plugin": _row(doors, found),
        "about": about,
        "bounds": _bounds(doors, plugin),
        "asked": None if plugin is None else Start(*start_asked(plugin.manifest, settings)),
        "manifest": None if plugin is None else plugin.manifest,
        "example": "" if plugin is None else example_of(plugin),
        **_calls(doors, visitor, name, plugin),
    }


def _bounds(doors: Doors, plugin: Plugin | None) -> list[Bound]:
    if plugin is None:
        return []
    asked = plugin.manifest.limits
    in_force = asked.capped(doors.backend.settings.caps)
    return [
        Bound(
            one.name,
            value := getattr(in_force, one.name),
            one.metadata["unit"],
            one.metadata["at_limit"],
            None if getattr(asked, one.name) == value else getattr(asked, one.name),
        )
        for one in fields(Limits)
    ]


def _calls(doors: Doors, visitor: Visitor, name: str, plugin: Plugin | None) -> dict[str, Any]:
    """Return the last calls and the last failures that a visitor may see."""
    if doors.metrics is None:
        return {"calls": [], "failures": [], "is_kept": False}
    limits: Mapping[str, float] = limits_of(doors, plugin)
    seen = [
        Ended(call, shares(call.usage, limits))
        for call in doors.metrics.last_calls(name)
        if visitor.is_operator or call.caller == visitor.name
    ]
    failures = [one for one in seen if one.call.error is not None]
    return {"calls": seen[:_MOST_LISTED], "failures": failures[:_MOST_LISTED], "is_kept": True}
