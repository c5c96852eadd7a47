"""How much of each limit a call has used: for the page and the command line alike.

What a call used comes from its usage or from an envelope that was kept; figures that are none are
left out, since whoever wrote them may be anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolrunner.api.finite import finite
from toolrunner.sandbox.limits import MIB

_MS = 1000
_Unit = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Share:
    """What was used of one limit, both in the limit's own unit; ``fraction`` is 1 at the limit."""

    limit: str
    used: float
    at_most: float
    fraction: float


def _of_ms(value: float) -> float:
    return value / _MS


def _of_bytes(value: float) -> float:
    return value / MIB


def _as_it_is(value: float) -> float:
    return value


# Which figure of a usage is held against which limit. What is in no usage has no share.
_MEASURED: Mapping[str, tuple[str, _Unit]] = {
    "wall_seconds": ("wall_ms", _of_ms),
    "cpu_seconds": ("cpu_ms", _of_ms),
    "memory_mb": ("peak_memory_bytes", _of_bytes),
    "processes": ("processes", _as_it_is),
    "output_mb": ("output_bytes", _of_bytes),
}


def shares(usage: Mapping[str, Any], limits: Mapping[str, Any]) -> list[Share]:
    """Return the share of each limit that is measured, in the order in which limits are listed."""
    found = []
    for limit, (figure, unit) in _MEASURED.items():
        used, at_most = _number(usage.get(figure)), _number(limits.get(limit))
        if used is not None and at_most:
            amount = unit(used)
            found.append(Share(limit, amount, at_most, amount / at_most))
    return found


def ended_by(error: Mapping[str, Any] | None) -> Share | None:
    """Return the limit that a failed call says it has ended by, with what was seen of it."""
    details = (error or {}).get("details")
    limit = details.get("limit") if isinstance(details, Mapping) else None
    if not isinstance(limit, Mapping):
        return None
    at_most, used = _number(limit.get("configured")), _number(limit.get("observed"))
    if not at_most:
        return None
    # Less is seen where the kernel refused what would have passed it.
    reached = at_most if used is None else used
    return Share(str(limit.get("name", "")), reached, at_most, max(1.0, reached / at_most))


def _number(value: object) -> float | None:
    number = finite(value)
    return number if number is not None and number >= 0 else None
