"""``/page/plugins``: all plugins that the visitor may use."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.live import Pieces, Subject
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.plugin_rows import PluginRow, rows_of
from toolrunner.api.page.visitors import FromVisitor, Visitor

router = APIRouter(prefix="/page/plugins", include_in_schema=False, route_class=GovernedRoute)

_LIVE_SECONDS = 5.0


@router.get("")
async def all_plugins(page: FromPage, doors: FromDoors, visitor: FromVisitor) -> HTMLResponse:
    """A table of them."""
    rows = await run_in_threadpool(_rows, doors, visitor)
    return page.show(visitor, "plugins.html", live="of=plugins", plugins=rows)


def subject(page: Page, doors: Doors, visitor: Visitor, _name: str) -> Subject:
    """Return what keeps the list live."""
    key = ("plugins", visitor.is_operator, visitor.caller.plugins)
    return Subject(key, partial(_pieces, page, doors, visitor), _LIVE_SECONDS)


def _pieces(page: Page, doors: Doors, visitor: Visitor) -> Pieces:
    text = page.rendering.text("plugins/table.html", plugins=_rows(doors, visitor), visitor=visitor)
    return {"plugins": text}


def _rows(doors: Doors, visitor: Visitor) -> list[PluginRow]:
    history = doors.metrics.history if doors.metrics is not None else None
    found = [
        one for one in doors.backend.plugins.everywhere() if visitor.caller.may_use(one.status.name)
    ]
    return rows_of(found, history)
