"""What the history of a server says: rates, times and failures, as they are drawn and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from toolrunner.api.metrics import families
from toolrunner.api.metrics.history import (
    OUTCOMES,
    STEP_SECONDS,
    History,
    PluginSample,
    Sample,
    quantile,
)
from toolrunner.runner.errors import Blame, ErrorType

_MS = 1000
_MOST_POINTS = 180
# Figures of plugins are of this time; a call a minute is seen in it.
RECENT_SECONDS = 300.0
_CALLERS = frozenset(kind for kind in ErrorType if kind.blame is Blame.CALLER)


@dataclass(frozen=True, slots=True)
class Point:
    """What happened between two samples. Times in milliseconds: the most so many calls took."""

    before: Sample
    after: Sample
    calls: float
    failures: Mapping[str, float]  # how many, by type
    p50_ms: float | None
    p99_ms: float | None

    @property
    def seconds(self) -> float:
        """How long it was."""
        return max(self.after.clock - self.before.clock, 1e-9)

    @property
    def rate(self) -> float:
        """How many calls a second have ended."""
        return self.calls / self.seconds

    @property
    def failed_rate(self) -> float:
        """How many of them a second have failed."""
        return sum(self.failures.values()) / self.seconds

    @property
    def since(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.before.at, UTC)

    @property
    def until(self) -> datetime:
        """When it ended."""
        return datetime.fromtimestamp(self.after.at, UTC)


@dataclass(frozen=True, slots=True)
class PluginFigures:
    """What a plugin has done lately; ``None`` where nobody has looked for long enough yet."""

    rate: float | None = None
    failed_rate: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    failures: Mapping[str, float] = field(default_factory=dict)  # how many, by type
    boxes: int = 0
    boxes_bytes: int = 0
    residents: int = 0
    residents_bytes: int = 0

    @property
    def is_alarming(self) -> bool:
        """Whether calls have failed by another fault than their callers' own."""
        return any(not is_callers(kind) for kind in self.failures)


def is_callers(kind: str) -> bool:
    """Tell whether failures of a type are the fault of who has made the call."""
    return kind in _CALLERS


def points(history: History, seconds: float) -> list[Point]:
    """Return what happened in the last so many seconds, as many points as can be drawn."""
    every = max(1, round(seconds / STEP_SECONDS / _MOST_POINTS))
    found = history.samples(seconds, every=every)
    return [_between(before, after) for before, after in pairwise(found)]


def spans(history: History, seconds: float, count: int) -> list[Point]:
    """Return the same in about so many spans, which lie side by side: each call is in one of them.

    Where one ends and the next begins does not change as time goes by.
    """
    found = history.samples(seconds)
    every = max(1, round(seconds / STEP_SECONDS / count))
    ends = {0, len(found) - 1}
    kept = [one for place, one in enumerate(found) if place in ends or not one.number % every]
    return [_between(before, after) for before, after in pairwise(kept)]


def latest(history: History, seconds: float) -> Point | None:
    """Return what happened in the last so many seconds as one; ``None`` if that is not known."""
    found = history.samples(seconds)
    return _between(found[0], found[-1]) if len(found) > 1 else None


def of_plugins(history: History | None) -> dict[str, PluginFigures]:
    """Return what each plugin has done lately; those that have never been called are missing."""
    known = history.of_plugins(RECENT_SECONDS) if history is not None else None
    if known is None:
        return {}
    passed, older, newest = known
    return {name: _of_plugin(passed, older.get(name), now) for name, now in newest.items()}


def drawn(found: Sequence[Point]) -> dict[str, Any]:
    """Return points as the script that draws them takes them."""
    kinds = sorted({kind for one in found for kind in one.failures})
    return {
        "at": [round(one.after.at, 1) for one in found],
        "rate": [round(one.rate, 3) for one in found],
        "p50": [_drawn_ms(one.p50_ms) for one in found],
        "p99": [_drawn_ms(one.p99_ms) for one in found],
        "waiting": [one.after.waiting for one in found],
        "failures": {
            kind: [round(one.failures.get(kind, 0.0) / one.seconds, 4) for one in found]
            for kind in kinds
        },
    }


def _between(before: Sample, after: Sample) -> Point:
    calls = _difference(before.calls, after.calls)
    times = _difference(before.times, after.times)
    return Point(
        before,
        after,
        sum(calls),
        {kind: number for kind, number in zip(OUTCOMES[1:], calls[1:], strict=True) if number},
        _ms(quantile(0.5, times)),
        _ms(quantile(0.99, times)),
    )


def _of_plugin(passed: float, before: PluginSample | None, now: PluginSample) -> PluginFigures:
    old = before if before is not None else PluginSample()
    times = _difference(old.times, now.times)
    failures = {
        kind: max(0.0, number - old.failures.get(kind, 0.0))
        for kind, number in now.failures.items()
    }
    gauges = now.gauges
    return PluginFigures(
        max(0.0, now.calls - old.calls) / passed,
        sum(failures.values()) / passed,
        _ms(quantile(0.5, times)),
        _ms(quantile(0.99, times)),
        {kind: number for kind, number in failures.items() if number},
        round(gauges.get(families.BOXES.name, 0)),
        round(gauges.get(families.BOXES_MEMORY.name, 0)),
        round(gauges.get(families.RESIDENTS.name, 0)),
        round(gauges.get(families.RESIDENTS_MEMORY.name, 0)),
    )


def _difference(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [max(0.0, new - old) for old, new in zip(before, after, strict=True)]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * _MS


def _drawn_ms(ms: float | None) -> float | None:
    """Return a time as it is drawn: what is beyond all bounds is at the last of them."""
    return min(ms, families.SECONDS[-1] * _MS) if ms is not None else None
