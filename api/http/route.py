"""How every route but the open ones is run: its refusals answered in one shape, and audited.

What it answers is held for who takes it slowly, and counted.

FastAPI's own errors of parameters become ours here; a query parameter that no route knows is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from toolrunner.api.http.answers import bounded
from toolrunner.api.http.audit import audit
from toolrunner.api.http.errors import RequestError, invalid, refusal, short_of
from toolrunner.plugins.errors import suggestion
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full
from toolrunner.runner.state.reopened import UnusableError
from toolrunner.sandbox.shortage import is_shortage

_STORE_SECONDS = 10

_LOG = logging.getLogger("toolrunner.http")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GovernedRoute(APIRoute):
    """A route of which every answer is recorded."""

    def get_route_handler(self) -> Handler:
        """Return the handler that answers, with its errors answered as well."""
        handler = self.get_handler()
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
            except StoreError as failed:  # its own log says what
                error = _full() if is_full(failed) else _without_jobs()
            except UnusableError as failed:  # such as a full disk; nothing has been changed
                _LOG.error("%s", failed)
                error = unusable_state(failed)
            except Exception as failed:
                if not is_shortage(failed):
                    raise
                error = short_of(failed)
            if error is not None:
                response = refusal(error)
            await audit(request, response, error)
            return bounded(response, request)

        return governed

    def get_handler(self) -> Handler:
        """Return the handler that FastAPI makes."""
        return super().get_route_handler()


class DirectRoute(GovernedRoute):
    """A route whose function takes the request alone, and finds the rest in it by itself.

    For the one that is asked most: FastAPI's search for what a function takes costs a tenth of a
    millisecond or more.
    """

    def get_handler(self) -> Handler:
        """Return the function itself."""
        handler: Handler = self.endpoint
        return handler


def _check_query(request: Request, known: list[str]) -> None:
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            message = f"query parameter {name[:100]!r} is there more than once"
            raise invalid(message)
        seen.add(name)
        if name not in known:
            hint = suggestion(name[:100], known) if known else "none is known here"
            message = f"unknown query parameter {name[:100]!r}; {hint}"
            raise invalid(message)


def unusable_state(error: OSError) -> RequestError:
    """Return the refusal of what could not be kept in the state folder, or not be read there."""
    if is_full(error):
        return _full()
    return _overloaded(
        "the server's state folder cannot be used now, and nothing was changed; its log says why"
    )


def unusable_database() -> RequestError:
    """Return the refusal of what could not be kept in the PostgreSQL that servers share."""
    return _overloaded(
        "the PostgreSQL that the servers share cannot be used now, and nothing was changed; the log"
        " says why"
    )


def _without_jobs() -> RequestError:
    return _overloaded(
        "jobs can be neither stored nor read now, and nothing was changed: the operator sees why at"
        " /readyz; calls that are waited for work (POST /v1/analyze)"
    )


def _full() -> RequestError:
    message = "the disk of the server's state folder is full; try again later"
    return _overloaded(message, FULL_DISK_SECONDS)


def _overloaded(message: str, seconds: int = _STORE_SECONDS) -> RequestError:
    return RequestError(ErrorType.OVERLOADED, message, details={"retry_after_seconds": seconds})


def _complaint(error: RequestValidationError) -> str:
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"][1:])
    return f"{where}: {found['msg']}"
