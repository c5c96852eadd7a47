"""What of a request is audited: who, which plugin, what came of it; never a payload."""

from __future__ import annotations

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.http.context import REQUEST_ID
from api.http.doors import doors_of
from api.http.errors import RequestError

_AUDITED = {("POST", "/v1/analyze"), ("POST", "/v1/jobs"), ("DELETE", "/v1/jobs")}
_REFUSED_KEYS = {401, 403, 429}


def outcome(request: Request, what: str) -> None:
    """Say what came of a request, where its status alone does not."""
    request.state.outcome = what


async def audit(request: Request, response: Response, error: RequestError | None = None) -> None:
    """Record a request that runs or ends something, and each that was refused for its key."""
    log = doors_of(request).audit
    if log is None:
        return
    status = response.status_code
    path = request.url.path
    route = "/v1/jobs" if path.startswith("/v1/jobs/") else path
    if (request.method, route) not in _AUDITED and status not in _REFUSED_KEYS:
        return
    state = request.state
    await run_in_threadpool(
        log.record,
        request_id=REQUEST_ID.get(),
        caller=getattr(state, "caller", ""),
        client=request.client.host if request.client else "",
        route=f"{request.method} {path}",
        plugin=getattr(state, "plugin", ""),
        outcome=str(error.kind) if error else getattr(state, "outcome", "success"),
        status=status,
    )
