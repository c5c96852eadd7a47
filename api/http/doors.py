"""What the HTTP app works with: made by whoever serves it, handed to every route."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from toolrunner.api.audit import Audit
from toolrunner.api.http.agents.agents import Agents
from toolrunner.api.http.changes import Changes
from toolrunner.api.http.clients import Clients
from toolrunner.api.http.guests import Guests
from toolrunner.api.http.held import MOST_HELD, Held
from toolrunner.api.http.tracing import CallTracing
from toolrunner.api.key import Keys
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.session import Sessions
from toolrunner.api.withdrawals import Withdrawals
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.changes import Reload
from toolrunner.runner.threads import CallThreads
from toolrunner.sandbox.limits import MIB

# How many kept results are read and written down at once: each may be large, and is there twice.
_WRITERS = 2


@dataclass(frozen=True)
class Doors:
    """``keys`` is ``None`` where no keys are needed: every caller is the same then.

    ``draining``: whether it is about to end, which ``/readyz`` says. ``closing``: whether it waits
    for nothing but what it has begun. ``reload`` has the server read its settings and plugins anew,
    unless it returns a refusal. ``sessions``: of who has signed in to the page with a key.
    ``secret``: what the workers of one server know alike, and nobody else. By ``withdrawals`` other
    requests take calls back.
    """

    backend: Backend
    keys: Keys | None = None
    audit: Audit | None = None
    metrics: Metrics | None = None
    draining: Callable[[], bool] = lambda: False
    reload: Callable[[], Reload] | None = None
    tracing: CallTracing | None = None
    closing: Callable[[], bool] = lambda: False
    sessions: Sessions | None = None
    secret: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)
    withdrawals: Withdrawals = field(default_factory=Withdrawals)
    changes: Changes = field(default_factory=Changes)
    agents: Agents = field(default_factory=Agents)
    threads: CallThreads = field(init=False)
    held: Held = field(init=False)
    writers: asyncio.Semaphore = field(init=False)
    guests: Guests = field(init=False)
    clients: Clients = field(init=False)

    def problems(self) -> dict[str, str]:
        """Return what is wrong with each part of the server, and what to do; "" if nothing."""
        return {
            **self.backend.problems(),
            "keys": self.keys.problem() if self.keys is not None else "",
            "audit": self.audit.problem() if self.audit is not None else "",
            "figures": self.metrics.problem() if self.metrics is not None else "",
        }

    def __post_init__(self) -> None:
        """Make the threads in which calls wait: as many as may run and wait. Nothing is held."""
        settings = self.backend.settings
        threads = CallThreads(self.backend.most_calls)
        object.__setattr__(self, "threads", threads)
        object.__setattr__(self, "guests", Guests(self.keys))
        clients = Clients(
            settings.connections_per_client, settings.keyless_per_minute, settings.trusted_proxies
        )
        if self.audit is not None:
            clients.on_sum(partial(_audited, self.audit))
        object.__setattr__(self, "clients", clients)
        object.__setattr__(self, "held", Held(MOST_HELD * settings.max_body_mb * MIB))
        object.__setattr__(self, "writers", asyncio.Semaphore(_WRITERS))


def _audited(audit: Audit, client: str, what: str, number: int) -> None:
    """Record what was refused and has no line of its own."""
    audit.record(client=client, outcome=what, requests=number)


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
