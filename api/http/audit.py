"""What of a request is audited: who, which plugin, what came of it; never a payload or a file.

Requests that run or end something, those that were refused for their key, and those that an
artifact was given to: of artifacts the names and sizes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from toolrunner.api.http.context import REQUEST_ID
from toolrunner.api.http.doors import found_in
from toolrunner.api.http.errors import RequestError
from toolrunner.api.http.middleware import is_told
from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.sandbox.shortage import is_thread_refused

_AUDITED = {
    ("POST", "/v1/analyze"),
    ("POST", "/v1/jobs"),
    ("DELETE", "/v1/jobs"),
    ("POST", "/v1/reload"),
    ("POST", "/v1/plugins"),
    ("POST", "/page/login"),
    ("POST", "/page/logout"),
    ("POST", "/page/jobs"),
    ("POST", "/page/plugins"),
}
_WITH_NAMES = ("/v1/jobs", "/v1/plugins", "/page/jobs", "/page/plugins")
_REFUSED_KEYS = {401, 403, 429}


def outcome(request: Request, what: str) -> None:
    """Say what came of a request, where its status alone does not."""
    request.state.outcome = what


def carried(request: Request, artifacts: Sequence[ArtifactInfo]) -> None:
    """Say which artifacts an answer carries."""
    request.state.artifacts = [{"name": one.name, "bytes": one.size_bytes} for one in artifacts]


async def audit(request: Request, response: Response, error: RequestError | None = None) -> None:
    """Record a request in a thread, unless it need not be, or has been by ``record``."""
    is_needed = (request.method, _route(request)) in _AUDITED
    is_needed |= response.status_code in _REFUSED_KEYS or hasattr(request.state, "artifacts")
    if response.status_code in _REFUSED_KEYS:
        reason = str(error.reason or "") if error is not None else ""
        is_needed = is_told(found_in(request).clients, request.scope, response.status_code, reason)
    if is_needed and not getattr(request.state, "is_audited", False):
        try:
            await run_in_threadpool(record, request, response, error)
        except RuntimeError as failed:
            if not is_thread_refused(failed):
                raise
            record(request, response, error)  # the line counts for more than a wait for the disk


def record(request: Request, response: Response, error: RequestError | None = None) -> None:
    """Record a request now. Whoever is in a thread already calls this."""
    state = request.state
    state.is_audited = True
    log = found_in(request).audit
    if log is None:
        return
    artifacts = getattr(state, "artifacts", None)
    reason = str(error.reason) if error is not None and error.reason else ""
    log.record(
        request_id=REQUEST_ID.get(),
        caller=getattr(state, "caller", ""),
        key=getattr(state, "key", ""),
        client=request.client.host if request.client else "",
        route=f"{request.method} {request.scope['path']}",
        plugin=getattr(state, "plugin", ""),
        outcome=str(error.kind) if error else getattr(state, "outcome", "success"),
        status=response.status_code,
        ms=round((time.monotonic() - state.started) * 1000),
        **({"reason": reason} if reason else {}),
        **({"artifacts": artifacts} if artifacts else {}),
    )


def _route(request: Request) -> str:
    path = request.scope["path"]
    return next((one for one in _WITH_NAMES if path.startswith(f"{one}/")), path)
