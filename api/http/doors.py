"""What the HTTP app works with: made by whoever serves it, handed to every route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from toolrunner.api.audit import AuditLog
from toolrunner.api.http.metrics import Metrics
from toolrunner.api.keys import KeyStore
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.threads import CallThreads


@dataclass(frozen=True)
class Doors:
    """``keys`` is ``None`` where no keys are needed: every caller is the same then."""

    backend: Backend
    keys: KeyStore | None = None
    audit: AuditLog | None = None
    metrics: Metrics | None = None
    draining: Callable[[], bool] = lambda: False
    threads: CallThreads = field(init=False)

    def __post_init__(self) -> None:
        """Make the threads in which calls wait: as many as may run and wait."""
        settings = self.backend.settings
        threads = CallThreads(settings.max_concurrent + settings.max_waiting)
        object.__setattr__(self, "threads", threads)


async def doors_of(request: Request) -> Doors:
    """Return what the app was made with.

    Asynchronous, or FastAPI would call it in a thread.
    """
    return found_in(request)


def found_in(request: Request) -> Doors:
    """Return the same, where nothing can be awaited."""
    doors = request.app.state.doors
    assert isinstance(doors, Doors)
    return doors


FromDoors = Annotated[Doors, Depends(doors_of)]
