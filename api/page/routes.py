"""The routes of the page, as the app takes them up. None of them is in the API's document."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page import (
    attacks,
    docs,
    job,
    jobs,
    overview,
    plugin,
    plugins,
    signing_in,
    streams,
    trying,
)
from toolrunner.api.page.page import FromPage
from toolrunner.api.page.static_files import PREFIX

_router = APIRouter(include_in_schema=False, route_class=GovernedRoute)
_FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}


@_router.get(f"{PREFIX}/{{mark}}/{{name:path}}")
async def static_file(page: FromPage, mark: str, name: str) -> Response:
    """One of the page's own files; nobody has to sign in for it."""
    found = page.files.at(f"{PREFIX}/{mark}/{name}")
    if found is None:
        message = "there is no such file here; load the page again"
        raise RequestError(HttpError.NOT_FOUND, message)
    return Response(found.content, media_type=found.media_type, headers=_FOR_GOOD)


ROUTERS = (
    _router,
    docs.router,
    signing_in.router,
    overview.router,
    plugins.router,
    jobs.router,
    job.router,
    plugin.router,
    trying.router,
    attacks.router,
    streams.router,
)
