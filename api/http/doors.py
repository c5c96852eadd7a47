"""What the HTTP app works with: made by whoever serves it, handed to every route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from toolrunner.api.audit import AuditLog
from toolrunner.api.http.held import MOST_HELD, Held
from toolrunner.api.http.metrics import Metrics
from toolrunner.api.keys import KeyStore
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.threads import CallThreads
from toolrunner.sandbox.limits import MIB


@dataclass(frozen=True)
class Doors:
    """``keys`` is ``None`` where no keys are needed: every caller is the same then."""

    backend: Backend
    keys: KeyStore | None = None
    audit: AuditLog | None = None
    metrics: Metrics | None = None
    draining: Callable[[], bool] = lambda: False
    threads: CallThreads = field(init=False)
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        """Make the threads in which calls wait: as many as may run and wait. Nothing is held."""
        settings = self.backend.settings
        threads = CallThreads(settings.max_concurrent + settings.max_waiting)
        object.__setattr__(self, "threads", threads)
        object.__setattr__(self, "held", Held(MOST_HELD * settings.max_body_mb * MIB))


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
