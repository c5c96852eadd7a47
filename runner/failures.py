"""From an outcome that is no result to the error that a caller gets."""

from __future__ import annotations

from dataclasses import asdict

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.verdict import Outcome
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.limits import MIB, Limits


def failure_of(
    error_type: ErrorType, outcome: Outcome, limits: Limits, usage: Usage
) -> GovernedError:
    """Return the error of a call that ended so; ``limits`` are those that held for it."""
    details = dict(outcome.details)
    limit = outcome.limit
    if "limit" not in details and limit:
        # The kernel's backstop was first: the process met an error, and nobody a figure.
        configured = asdict(limits)[limit]
        observed = _observed(limit, usage)
        details["limit"] = {"name": limit, "configured": configured, "observed": observed}
    return GovernedError(error_type, outcome.message, details, traceback=outcome.traceback)


def _observed(limit: str, usage: Usage) -> float | None:
    """Return what a call used of a limit, in the limit's unit, if that was measured."""
    return {
        "cpu_seconds": usage.cpu_ms / 1000,
        "memory_mb": round(usage.peak_memory_bytes / MIB, 1),
        "processes": usage.processes,
    }.get(limit)
