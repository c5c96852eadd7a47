"""What a mode of running calls is, and what a call brings along, whichever one takes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from toolrunner.sandbox.ending import Ending, Isolation, StartMode
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.profile import Program


def whatever_it_is(_body: bytes) -> bool:
    """Take any reply for a result."""
    return True


@dataclass(frozen=True, slots=True)
class Caller:
    """What one call brings along; ``layers`` confine it.

    ``owner`` shares residents with nobody, and ``on_behalf_of`` no batch. ``is_sound`` tells of a
    reply's body whether it is a result: a resident that sends another one serves no more.
    """

    program: Program
    limits: Limits
    interrupt: Interrupt
    listener: Listener
    layers: Layers
    owner: str = ""
    on_behalf_of: str = ""
    is_sound: Callable[[bytes], bool] = whatever_it_is


class Mode(Protocol):
    """One way to run calls. Thread-safe."""

    def call(self, caller: Caller, request: Request) -> Ending | None:
        """Run one call and tell how it ended; ``None`` when it has to run in another mode.

        Nothing of the request has been sent then.
        """

    def close(self) -> None:
        """End everything, with the calls that still run."""


@functools.cache
def isolation_of(layers: Layers, mode: StartMode) -> Isolation:
    """Return what an envelope shows of a call's confinement; ``mode``: warm, cold, resident."""
    return Isolation(mode, layers.names(), layers.missing())
