"""A job's artifacts: what there is, and each of them as the file that it is.

Whatever a plugin has made is somebody else's page, script or picture: it is sent so that a browser
keeps it, and never runs it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from toolrunner.api.http import schemas
from toolrunner.api.http.answers import while_allowed
from toolrunner.api.http.audit import carried
from toolrunner.api.http.callers import FromCaller
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.own_jobs import found, unsuccessful
from toolrunner.api.http.ranges import UnsatisfiableError, is_known, wanted_range
from toolrunner.api.http.route import GovernedRoute
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.job import Job
from toolrunner.runner.jobs.store import ArtifactReader

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=GovernedRoute)

_PIECE_BYTES = 256 * 1024
# Opened as a page it has no origin, no scripts and no forms, and loads nothing.
_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
# Kept by the client that asked for it, and asked about each time: whose it is may change.
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key"}
# What a page of this server would run if it named the address as a script, whatever the policy:
# https://mimesniff.spec.whatwg.org/#javascript-mime-type
_SCRIPTS = frozenset(
    {
        *(f"application/{name}" for name in ("ecmascript", "javascript")),
        *(f"application/x-{name}" for name in ("ecmascript", "javascript")),
        *(f"text/{name}" for name in ("ecmascript", "javascript", "jscript", "livescript")),
        *(f"text/x-{name}" for name in ("ecmascript", "javascript")),
        *(f"text/javascript1.{number}" for number in range(6)),
    }
)

WantedRange = Annotated[
    str | None,
    Header(alias="Range", description="One range of bytes; several are answered with everything."),
]
IfRange = Annotated[str | None, Header(description="The ETag that the range is wanted of.")]
IfNoneMatch = Annotated[str | None, Header(description="ETags of what the client has already.")]


@router.get(
    "/{job_id}/artifacts",
    summary="A job's artifacts",
    responses={
        200: schemas.answer("Artifacts", "What the plugin made, in its order; may be empty."),
        **schemas.errors(*ErrorType, HttpError.NOT_FOUND, HttpError.CONFLICT),
    },
)
async def list_artifacts(job_id: str, doors: FromDoors, caller: FromCaller) -> Response:
    """What files the plugin gave back beside its result; Conflict until the job has ended."""
    job = await found(job_id, doors, caller)
    without_any = unsuccessful(job)
    if without_any is not None:
        return without_any
    listed = await run_in_threadpool(doors.backend.jobs.job_artifacts, job.id)
    return JSONResponse([one.document() for one in listed])


@router.get(
    "/{job_id}/artifacts/{name}",
    summary="One artifact of a job",
    response_class=Response,
    responses={
        **schemas.file("All of it.", "A piece of it.", "The client has it already."),
        **schemas.errors(
            *ErrorType, HttpError.NOT_FOUND, HttpError.CONFLICT, HttpError.RANGE_NOT_SATISFIABLE
        ),
    },
)
@router.head("/{job_id}/artifacts/{name}", include_in_schema=False)
async def get_artifact(
    request: Request,
    job_id: str,
    name: str,
    doors: FromDoors,
    caller: FromCaller,
    byte_range: WantedRange = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The file, with its MIME type, an ETag and ranges. Browsers save it, and run nothing of it."""
    job = await found(job_id, doors, caller)
    without_any = unsuccessful(job)
    if without_any is not None:
        return without_any
    request.state.plugin = job.plugin
    kept = await run_in_threadpool(doors.backend.jobs.open_artifact, job.id, name)
    if kept is None:
        message = f"the job has no artifact {name[:200]!r}; GET /v1/jobs/{job.id}/artifacts says"
        message += " which there are"
        raise RequestError(HttpError.NOT_FOUND, message, plugin=job.plugin)
    response = None
    try:
        response = _answered(request, job, kept, byte_range, if_range, if_none_match)
    finally:
        if not isinstance(response, ArtifactResponse):
            kept.close()
    return response


def _answered(
    request: Request,
    job: Job,
    kept: ArtifactReader,
    byte_range: str | None,
    if_range: str | None,
    if_none_match: str | None,
) -> Response:
    tag = f'"{kept.info.sha256}"'
    if is_known(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag, **_CACHING})
    wanted = None
    try:
        if request.method == "GET":  # RFC 9110: for no other method are there ranges
            wanted = wanted_range(byte_range, if_range, tag, kept.info.size_bytes)
    except UnsatisfiableError:
        message = f"the artifact has {kept.info.size_bytes} bytes; the range lies beyond them"
        headers = {"Content-Range": f"bytes */{kept.info.size_bytes}"}
        raise RequestError(
            HttpError.RANGE_NOT_SATISFIABLE, message, plugin=job.plugin, headers=headers
        ) from None
    if request.method == "GET":
        carried(request, [kept.info])
    return ArtifactResponse(kept, tag, wanted, request)


class ArtifactResponse(Response):
    """Sends an artifact, or a piece of it, and closes it. Little of a large one is in memory."""

    def __init__(
        self, kept: ArtifactReader, tag: str, wanted: tuple[int, int] | None, request: Request
    ) -> None:
        """``wanted`` is where the bytes begin and end; all of them if it is ``None``."""
        self._kept = kept
        self._request = request
        size = kept.info.size_bytes
        self._begin, self._end = wanted or (0, size)
        headers = {
            "Content-Length": str(self._end - self._begin),
            "Content-Disposition": f'attachment; filename="{kept.info.name}"',
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes",
            "ETag": tag,
            **_CACHING,
        }
        if wanted is not None:
            headers["Content-Range"] = f"bytes {self._begin}-{self._end - 1}/{size}"
        self.status_code = 200 if wanted is None else 206
        self.media_type = None
        self.background = None
        self.init_headers({**headers, "Content-Type": _harmless_type(kept.info.mime_type)})
        if request.method == "HEAD":
            self._end = self._begin

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it, as fast as it is taken, and as long as its key is one."""
        try:
            async with while_allowed(self._request):
                await self._send(send)
        finally:
            self._kept.close()

    async def _send(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for at in range(self._begin, self._end, _PIECE_BYTES):
            size = min(_PIECE_BYTES, self._end - at)
            piece = await run_in_threadpool(self._kept.read, at, size)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _harmless_type(mime_type: str) -> str:
    """Return the type to send something as: its own, but for what browsers take for a script."""
    essence = mime_type.partition(";")[0].strip().lower()
    return "text/plain; charset=utf-8" if essence in _SCRIPTS else mime_type
