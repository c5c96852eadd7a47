"""The HTTP API as one ASGI app: its routes, and what they have in common.

Made by whoever serves it, with everything that it works with. It holds nothing of its own.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from toolrunner.api.http import (
    analyze,
    artifacts,
    audit_log,
    jobs,
    operations,
    plugins,
    reloading,
    schemas,
)
from toolrunner.api.http.agents import route as agents
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import STATUS, HttpError, RequestError, refusal
from toolrunner.api.http.middleware import BodyLimit, Outermost, OwnHosts
from toolrunner.api.http.targets import Targets
from toolrunner.api.http.tracing import UNTRACED
from toolrunner.api.page import routes as page_routes
from toolrunner.api.page.error_pages import ErrorPages
from toolrunner.api.page.page import page_for

_DESCRIPTION = """\
Run plugins in confined processes of their own. JSON goes in, JSON comes out, and whatever goes
wrong is one kind of error: what, how much, and whose fault.
"""
ROUTERS = (
    analyze.router,
    jobs.router,
    artifacts.router,
    plugins.router,
    operations.open_router,
    operations.router,
    reloading.router,
    audit_log.router,
    *page_routes.ROUTERS,
    agents.router,
)


def create_app(doors: Doors, version: str = "0") -> FastAPI:
    """Return the app. Whoever serves it closes what ``doors`` holds afterwards."""
    app = FastAPI(
        title="Toolrunner",
        version=version,
        description=_DESCRIPTION,
        # The pages that FastAPI would show load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=UNTRACED if doors.tracing is None else doors.tracing.config,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/"}],
        # What methods are called in the clients that are generated.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.doors = doors
    app.state.page = page = page_for(doors)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_middleware(Targets, methods_of=_methods_of)
    app.add_middleware(BodyLimit, megabytes=doors.backend.settings.max_body_mb)
    if doors.keys is None:
        app.add_middleware(OwnHosts, allowed=doors.backend.settings.allowed_hosts)
    app.add_middleware(
        Outermost,
        clients=doors.clients,
        metrics=doors.metrics,
        is_traced=doors.tracing is not None,
    )
    app.add_middleware(ErrorPages, rendering=page.rendering)
    needs_key = doors.keys is not None

    def openapi() -> dict[str, Any]:
        document = _described(app, needs_key=needs_key)
        # Which plugins there are is for those to know who may ask for it.
        names = None if needs_key else doors.backend.plugins.plugin_names()
        return schemas.with_plugins(document, names)

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return app


async def _not_routed(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that no route takes."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    found = _methods_of(path)
    # Targets makes a GET of a HEAD.
    methods = sorted(found | {"HEAD"} if "GET" in found else found)
    if methods:
        message = f"{request.method[:20]} is not known here; use {' or '.join(methods)}"
        headers = {"Allow": ", ".join(methods)}
        return refusal(RequestError(HttpError.METHOD_NOT_ALLOWED, message, headers=headers))
    message = f"there is nothing at {path[:200]!r}; /openapi.json lists what there is"
    return refusal(RequestError(HttpError.NOT_FOUND, message))


def _methods_of(path: str) -> set[str]:
    if path == "/openapi.json":
        return {"GET", "HEAD"}
    methods: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                methods |= route.methods or set()
    return methods


def _described(app: FastAPI, *, needs_key: bool) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=app.servers,
            license_info=app.license_info,
        )
        components = document.setdefault("components", {})
        # FastAPI's own are what parameters refer to; what its 422 refers to goes with it.
        made = components.get("schemas", {})
        kept = {name: made[name] for name in made if name not in _OF_422}
        components["schemas"] = {**kept, **schemas.COMPONENTS}
        if needs_key:
            components["securitySchemes"] = _KEYS
        for path, operations_ in document["paths"].items():
            for operation in operations_.values():
                _complete(operation, needs_key=needs_key, is_open=path in _OPEN)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, needs_key: bool, is_open: bool) -> None:
    """Put into one operation what all of them have in common."""
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _present(parameter["schema"])
    # Ours are 400, and described already.
    operation["responses"].pop("422", None)
    is_closed = needs_key and not is_open
    operation["security"] = [{name: []} for name in _KEYS] if is_closed else []
    refused: tuple[HttpError, ...] = _REFUSED_KEYS if is_closed else ()
    if not needs_key:  # another site's page, or another Host
        refused = (HttpError.FORBIDDEN,)
    for kind in refused:
        described = schemas.error_answer(STATUS[kind], [kind])
        operation["responses"].setdefault(str(STATUS[kind]), described)
    for response in operation["responses"].values():
        schemas.add_example(response)


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a parameter is when it is there: then it is never null."""
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(options) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **options[0]}


_OPEN = {"/healthz", "/readyz"}
_OF_422 = {"HTTPValidationError", "ValidationError"}
_REFUSED_KEYS = (HttpError.UNAUTHORIZED, HttpError.FORBIDDEN, HttpError.RATE_LIMITED)
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
