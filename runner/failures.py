"""From an outcome that is no result, or a refusal, to the error that a caller gets."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

from toolrunner.plugins.discovery import runs_code_of_callers
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import (
    CANCELLED_BY,
    Blame,
    ErrorType,
    GovernedError,
    build_error_envelope,
)
from toolrunner.runner.registry.suspensions import Standing, SuspendedBy, Verdict
from toolrunner.runner.verdict import Outcome
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.shortage import REMEDY, told


class SuspendedError(GovernedError):
    """A plugin takes no calls for now. That says nothing new of the plugin itself."""

    def __init__(self, name: str, standing: Standing) -> None:
        """``standing``: of the plugin, as it is suspended."""
        details: dict[str, object] = {"suspended_by": standing.suspended_by}
        if standing.suspended_by == SuspendedBy.OPERATOR:
            message = f"{name} is suspended by the operator (`toolrunner plugins enable {name}`)"
        else:
            seconds = max(1, math.ceil(standing.seconds_left(time.time())))
            details["retry_after_seconds"] = seconds
            message = (
                f"{name} is suspended for another {seconds} s: it has failed "
                f"{standing.failures} times in a row, the last time by {standing.reason}"
            )
        super().__init__(ErrorType.PLUGIN_UNAVAILABLE, message, details)


def envelope_of(plugin: str | None, call: Call, failure: GovernedError) -> Envelope:
    """Return what a caller gets of a call that has failed so."""
    return build_error_envelope(
        failure.error_type,
        failure.message,
        plugin=plugin,
        call_id=call.call_id,
        usage=call.usage,
        isolation=call.isolation,
        details=_with_who_cancelled(failure, call),
        traceback=failure.traceback,
    )


def _with_who_cancelled(failure: GovernedError, call: Call) -> dict[str, object]:
    if failure.error_type is not ErrorType.CANCELLED:
        return failure.details
    return {**failure.details, CANCELLED_BY: call.cancelled_by}


def verdict_of(failure: GovernedError | None, plugin: Plugin | None = None) -> Verdict:
    """Return what the end of a call says of its plugin. One that cannot run was not tried.

    Where callers send the code, only what they have not begun yet is the plugin's own failure.
    """
    if failure is None:
        return Verdict.WORKS
    kind = failure.error_type
    if plugin is not None and runs_code_of_callers(plugin):
        return Verdict.FAILED if kind is ErrorType.PLUGIN_LOAD_ERROR else Verdict.NONE
    is_its_own = kind.blame is Blame.PLUGIN and kind is not ErrorType.PLUGIN_UNAVAILABLE
    return Verdict.FAILED if is_its_own else Verdict.NONE


def failure_of(
    error_type: ErrorType, outcome: Outcome, limits: Limits, usage: Usage
) -> GovernedError:
    """Return the error of a call that ended so; ``limits`` are those that held for it."""
    details, message = dict(outcome.details), outcome.message
    limit = outcome.limit
    if "limit" not in details and limit:
        # The kernel's backstop was first: the process met an error, and nobody a figure.
        configured = asdict(limits)[limit]
        observed = _observed(limit, usage)
        details["limit"] = {"name": limit, "configured": configured, "observed": observed}
        if limit == "memory_mb":
            message = f"{_refused_memory(configured, observed)}: {message}"
    return GovernedError(error_type, message, details, traceback=outcome.traceback)


def short_of(error: Exception) -> GovernedError:
    """Return the error of a call that the host had nothing left for, outside of its box."""
    details = {
        "operation": "run the call",
        "errno": getattr(error, "errno", None),
        "remedy": REMEDY,
    }
    return GovernedError(ErrorType.SANDBOX_ERROR, f"run the call: {told(error)}; {REMEDY}", details)


def _refused_memory(most_mb: float, used_mb: float | None) -> str:
    """Return what the kernel has refused: what was used says little of what was asked for."""
    used = f", having used {used_mb:g} MiB" if used_mb else ""
    return f"asked for more than memory_mb = {most_mb:g} MiB allows{used}"


def _observed(limit: str, usage: Usage) -> float | None:
    """Return what a call used of a limit, in the limit's unit, if that was measured."""
    return {
        "cpu_seconds": usage.cpu_ms / 1000,
        "memory_mb": round(usage.peak_memory_bytes / MIB, 1),
        "processes": usage.processes,
    }.get(limit)
