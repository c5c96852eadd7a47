"""What the routes of the page work with, beside the doors: made once for an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from toolrunner.api.http.doors import Doors
from toolrunner.api.page.live import Live
from toolrunner.api.page.rendering import Rendering
from toolrunner.api.page.static_files import StaticFiles
from toolrunner.api.page.visitors import Visitor


@dataclass(frozen=True)
class Page:
    """The files, the templates, and the streams of who looks."""

    files: StaticFiles
    rendering: Rendering
    live: Live

    def show(
        self, visitor: Visitor, template: str, *, live: str = "", **values: object
    ) -> HTMLResponse:
        """Return a page for a visitor; ``live``: the query of the stream that keeps it so."""
        return self.rendering.page(template, {"visitor": visitor, "live": live, **values})


def page_for(doors: Doors) -> Page:
    """Return what the page of an app works with."""
    files = StaticFiles()
    return Page(files, Rendering(files), Live(doors))


async def page_of(request: Request) -> Page:
    """Return what the app was made with; asynchronous, or FastAPI would call it in a thread."""
    page = request.app.state.page
    assert isinstance(page, Page)
    return page


FromPage = Annotated[Page, Depends(page_of)]
