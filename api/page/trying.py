"""``/page/plugins/NAME/try``: a call out of the browser, the same way as ``POST /v1/analyze``.

A script of the page sends the form, so that what is asked is confirmed by a header, before the body
is read; to leave or to press Cancel ends the request, and with it the call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http.analyze import Answered, answered
from toolrunner.api.http.bodies import Wanted, read_wanted
from toolrunner.api.http.callers import while_reading
from toolrunner.api.http.doors import Doors, FromDoors
from toolrunner.api.http.errors import HttpError, RequestError, invalid
from toolrunner.api.http.route import GovernedRoute
from toolrunner.api.page import snippets
from toolrunner.api.page.page import FromPage, Page
from toolrunner.api.page.tried import tried
from toolrunner.api.page.visitors import FromVisitor
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.payloads.samples import sample_payload

router = APIRouter(prefix="/page/plugins", include_in_schema=False, route_class=GovernedRoute)
_PICTURE = "image/"


@router.post("/{name}/try")
async def try_plugin(
    request: Request, page: FromPage, doors: FromDoors, visitor: FromVisitor, name: str
) -> Response:
    """Run a call and show what came of it, as a piece of the plugin's page."""
    async with while_reading(doors, visitor.caller):
        wanted = await read_wanted(request)
        # Read already: this is the form as it was.
        image = (await request.form()).get("image")
        request.state.image_name = getattr(image, "filename", None)
    if wanted.plugin != name:
        message = f"this form is of another plugin than {name[:100]!r}"
        raise invalid(message)
    shown = partial(_as_piece, request, page, doors)
    return await answered(request, doors, visitor.caller, wanted, "page", shown)


@router.get("/{name}/sample")
async def sample(doors: FromDoors, visitor: FromVisitor, name: str) -> Response:
    """A picture or a file that the plugin takes, to try it on."""
    plugin = doors.backend.plugins.known(name) if visitor.caller.may_use(name) else None
    found = None if plugin is None else await run_in_threadpool(_sample, plugin)
    if found is None:
        message = "there is no sample for this plugin"
        raise RequestError(HttpError.NOT_FOUND, message)
    file_name, mime_type, data = found
    return Response(
        data,
        media_type=mime_type,
        headers={
            "X-Sample-Name": file_name,
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )


def _sample(plugin: Plugin) -> tuple[str, str, bytes] | None:
    payload, _ = sample_payload(plugin.manifest)
    if payload is None or plugin.manifest.input == "json":
        return None
    if plugin.manifest.input == "image":
        mime_type = str(payload["mime_type"])
        return f"sample.{mime_type.rpartition('/')[2]}", mime_type, bytes(payload["image"])
    [one] = payload["files"]
    return str(one["name"]), str(one["mime_type"]), bytes(one["data"])


def example_of(plugin: Plugin) -> str:
    """Return what a form for JSON begins with, as text; "" where none is taken."""
    if plugin.manifest.input != "json":
        return ""
    payload, _ = sample_payload(plugin.manifest)
    return json.dumps(payload or {}, indent=2, ensure_ascii=False)


def limits_of(doors: Doors, plugin: Plugin | None) -> Mapping[str, float]:
    """Return the limits of a plugin's calls that are in force; none of one that cannot run."""
    if plugin is None:
        return {}
    return asdict(plugin.manifest.limits.capped(doors.backend.settings.caps))


def _as_piece(request: Request, page: Page, doors: Doors, found: Answered) -> Response:
    plugin = doors.backend.plugins.known(found.wanted.plugin)
    same = asked(request, doors, found.wanted)
    text = page.rendering.text(
        "plugin/tried.html",
        tried=tried(found, limits_of(doors, plugin)),
        curl=snippets.as_curl(same),
        python=snippets.as_python(same),
        is_upright=plugin is not None and plugin.origin == "bundled",
    )
    return HTMLResponse(text)


def asked(request: Request, doors: Doors, wanted: Wanted) -> snippets.Request:
    """Return what a request has asked for, to be written as others would ask for it."""
    payload: Mapping[str, Any] = wanted.payload
    image = None
    if "image" in payload:
        mime_type = str(payload.get("mime_type", ""))
        name = getattr(request.state, "image_name", "") or "picture"
        image = snippets.Given(name, mime_type)
    files = [
        snippets.Given(str(one.get("name", "")), str(one.get("mime_type", "")))
        for one in payload.get("files", ())
    ]
    has_files = image is not None or bool(files)
    return snippets.Request(
        f"{request.url.scheme}://{request.url.netloc}",
        wanted.plugin,
        has_keys=doors.keys is not None,
        image=image,
        files=files,
        options=payload.get("options") if has_files else None,
        payload=None if has_files else payload,
    )
