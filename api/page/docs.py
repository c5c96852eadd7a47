"""``/docs``: the OpenAPI document as a page, by Swagger UI, with nothing that lies elsewhere.

It is as open as the document itself. A key that is typed in there goes with what is tried out, and
is kept nowhere.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.page import FromPage

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)


@router.get("/docs")
async def api_document(page: FromPage) -> HTMLResponse:
    """Show what ``/openapi.json`` says to whoever may read it, which is everybody."""
    return page.rendering.page("docs.html", {})
