"""``/docs``: the OpenAPI document as a page, by Swagger UI, with nothing that lies elsewhere.

It is as open as the document itself. A key that is typed in there goes with what is tried out, and
is kept nowhere. Who has signed in finds the way back to the page.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page.page import FromPage
from toolrunner.api.page.visitors import visitor_if_any

router = APIRouter(include_in_schema=False, route_class=GovernedRoute)


@router.get("/docs")
async def api_document(request: Request, page: FromPage, doors: FromDoors) -> HTMLResponse:
    """Show what ``/openapi.json`` says to whoever may read it, which is everybody."""
    visitor = await visitor_if_any(request, doors)
    values = {"visitor": visitor, "live": "", "can_sign_in": doors.keys is not None}
    return page.rendering.page("docs.html", values)
