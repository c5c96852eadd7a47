"""Who asked for what, to be read by the operator: of all servers that share their jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from toolrunner.api.http import schemas
from toolrunner.api.http.callers import FromOperator
from toolrunner.api.http.doors import FromDoors
from toolrunner.api.http.errors import HttpError, RequestError
from toolrunner.api.http.route import GovernedRoute
from toolrunner.runner.errors import ErrorType

router = APIRouter(prefix="/v1/audit", tags=["operations"], route_class=GovernedRoute)
_MOST_LISTED = 1000


@router.get(
    "",
    summary="The audit log",
    responses={
        200: schemas.answer("AuditLines", "The newest first."),
        **schemas.errors(HttpError.FORBIDDEN, HttpError.NOT_FOUND, ErrorType.OVERLOADED),
    },
)
async def list_audit(
    doors: FromDoors,
    _operator: FromOperator,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 100,
    before: Annotated[int | None, Query(ge=0, description="A ``seq``: only older ones.")] = None,
    caller: Annotated[str | None, Query(description="Only those of a key's name.")] = None,
) -> JSONResponse:
    """Lines of the audit log, of all servers; for the next page give the last ``seq``."""
    log = doors.audit
    if log is None:
        message = "no audit log is kept here"
        raise RequestError(HttpError.NOT_FOUND, message)
    found = await run_in_threadpool(log.read, limit=limit, before=before, caller=caller)
    return JSONResponse(found)
