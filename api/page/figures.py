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

_MS = 1000
_MOST_POINTS = 180
# Figures of plugins are of this time; a call a minute is seen in it.
RECENT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in a while that ended ``at``, in seconds since 1970. Times in milliseconds."""

    at: float
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    failures: Mapping[str, float]  # a second, by type
    sample: Sample

    @property
    def time(self) -> datetime:
        """When it ended."""
        return datetime.fromtimestamp(self.at, UTC)


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


def points(history: History, seconds: float) -> list[Point]:
    """Return what happened in the last so many seconds, as many points as can be drawn."""
    every = max(1, round(seconds / STEP_SECONDS / _MOST_POINTS))
    found = history.samples(seconds, every=every)
    return [_between(before, after) for before, after in pairwise(found)]


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
    kinds = sorted({kind for one in found for kind, rate in one.failures.items() if rate})
    return {
        "at": [round(one.at, 1) for one in found],
        "rate": [round(one.rate, 3) for one in found],
        "p50": [None if one.p50_ms is None else round(one.p50_ms, 2) for one in found],
        "p99": [None if one.p99_ms is None else round(one.p99_ms, 2) for one in found],
        "waiting": [one.sample.waiting for one in found],
        "failures": {
            kind: [round(one.failures.get(kind, 0.0), 4) for one in found] for kind in kinds
        },
    }


def _between(before: Sample, after: Sample) -> Point:
    passed = max(after.clock - before.clock, 1e-9)
    calls = _difference(before.calls, after.calls)
    times = _difference(before.times, after.times)
    return Point(
        after.at,
        sum(calls) / passed,
        _ms(quantile(0.5, times)),
        _ms(quantile(0.99, times)),
        {kind: n / passed for kind, n in zip(OUTCOMES[1:], calls[1:], strict=True) if n},
        after,
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
