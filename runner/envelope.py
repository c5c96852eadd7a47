"""The shape of an error envelope, for callers' type checkers: what it always has, and may have.

``errors`` builds them. At run time each is a plain dictionary of strict JSON.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class LimitFigures(TypedDict):
    """A limit that was passed, in its own unit; ``observed`` is ``None`` where nobody measured."""

    name: str
    configured: float
    observed: float | None


class UsageFigures(TypedDict):
    """What the call used; zeros when nothing ran."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int
    processes: int
    output_bytes: int
    log_bytes_dropped: int


class IsolationNames(TypedDict):
    """What confined the call: ``mode`` is "warm" or "cold", ``layers`` as "landlock:7"."""

    mode: str
    layers: list[str]
    missing: list[str]


class ErrorDetails(TypedDict):
    """Whose fault, what was used, and what is known of the cause.

    ``blame`` is "caller", "host" or "plugin". ``limit`` belongs to a limit's types, ``signal`` and
    ``exit_code`` to an end without a reply, ``exception`` to what the plugin raised, ``operation``
    and ``remedy`` to a ``SandboxError``, ``errno`` to both, ``retry_after_seconds`` to
    ``Overloaded``, ``cancelled_by`` ("caller", "operator" or "server") to ``Cancelled``;
    ``log_tail`` is what the plugin printed last.
    """

    blame: str
    retryable: bool
    call_id: str
    usage: UsageFigures
    isolation: IsolationNames
    limit: NotRequired[LimitFigures]
    signal: NotRequired[str]
    exit_code: NotRequired[int]
    exception: NotRequired[str]
    operation: NotRequired[str]
    errno: NotRequired[int | None]
    remedy: NotRequired[str]
    retry_after_seconds: NotRequired[int]
    cancelled_by: NotRequired[str]
    log_tail: NotRequired[str]


class GovernedErrorBody(TypedDict):
    """The error as a caller sees it; ``timestamp`` is in UTC, by ISO 8601."""

    type: str
    message: str
    details: ErrorDetails
    plugin: str | None
    timestamp: str


class OperatorsOnly(TypedDict):
    """What no caller of a service should see."""

    traceback: str


class Envelope(TypedDict):
    """One failed call."""

    error: GovernedErrorBody
    _internal: OperatorsOnly
