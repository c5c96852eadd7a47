"""How every route but the open ones is run: its refusals answered in one shape, and audited.

FastAPI's own errors of parameters become ours here; a query parameter that no route knows is one.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from toolrunner.api.http.audit import audit
from toolrunner.api.http.errors import RequestError, invalid, refusal
from toolrunner.plugins.errors import suggestion
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full

_LOG = logging.getLogger("toolrunner.http")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GovernedRoute(APIRoute):
    """A route of which every answer is recorded."""

    def get_route_handler(self) -> Handler:
        """Return the handler that FastAPI makes, with its errors answered."""
        handler = super().get_route_handler()
        known = [parameter.alias for parameter in self.dependant.query_params]

        async def governed(request: Request) -> Response:
            error = None
            try:
                _check_query(request, known)
                try:
                    response = await handler(request)
                finally:
                    await request.close()  # and with it what was uploaded
            except RequestError as refused:
                error = refused
            except RequestValidationError as wrong:
                error = invalid(_complaint(wrong))
            except sqlite3.Error as failed:  # such as a full disk; nothing has been changed
                _LOG.exception("the state folder cannot be used")
                error = _unusable()
                if is_full(failed):
                    error = _full()
            if error is not None:
                response = refusal(error)
            await audit(request, response, error)
            return response

        return governed


def _check_query(request: Request, known: list[str]) -> None:
    for name in request.query_params:
        if name not in known:
            hint = suggestion(name[:100], known) if known else "none is known here"
            message = f"unknown query parameter {name[:100]!r}; {hint}"
            raise invalid(message)


def _unusable() -> RequestError:
    message = "the server's state folder cannot be used now; its log says why"
    return RequestError(ErrorType.INTERNAL_ERROR, message)


def _full() -> RequestError:
    return RequestError(
        ErrorType.OVERLOADED,
        "the disk of the server's state folder is full; try again later",
        headers={"Retry-After": str(FULL_DISK_SECONDS)},
        details={"retry_after_seconds": FULL_DISK_SECONDS},
    )


def _complaint(error: RequestValidationError) -> str:
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"][1:])
    return f"{where}: {found['msg']}"
