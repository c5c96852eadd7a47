"""Figures of calls that others have written down, and shares of limits: whatever they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from toolrunner.api.known_calls import PARTS, KnownCall, over_time, percentile
from toolrunner.api.limit_shares import shares

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def call(seconds: float, outcome: str = "success") -> KnownCall:
    """Return a call that has ended so long after noon."""
    return KnownCall(NOON + timedelta(seconds=seconds), "analyze", "", outcome, 1)


def test_percentiles_are_times_that_were_taken() -> None:
    """The nearest one above, and none of none."""
    assert percentile([], 0.5) is None
    assert percentile([3], 0.99) == 3
    assert percentile(range(1, 101), 0.5) == 50
    assert percentile(range(1, 101), 0.99) == 99


def test_each_call_is_in_one_part_of_the_time() -> None:
    """The first one and the last one too; calls of one moment are one part."""
    parts = over_time([call(0), call(10, "ExecutionError"), call(24), call(12)])
    assert len(parts) == PARTS
    assert (parts[0].calls, parts[10].calls, parts[10].failed, parts[-1].calls) == (1, 1, 1, 1)
    assert sum(one.calls for one in parts) == 4
    assert [one.calls for one in over_time([call(0), call(0)])] == [2]
    assert over_time([]) == []


def test_a_share_is_in_the_limits_own_unit() -> None:
    """Milliseconds are held against seconds, and bytes against MiB."""
    usage = {"wall_ms": 1500, "cpu_ms": 0, "peak_memory_bytes": 32 << 20, "processes": 2}
    limits = {"wall_seconds": 3.0, "cpu_seconds": 10, "memory_mb": 64, "processes": 1, "threads": 3}
    found = {one.limit: (one.used, one.fraction) for one in shares(usage, limits)}
    assert found == {
        "wall_seconds": (1.5, 0.5),
        "cpu_seconds": (0, 0),
        "memory_mb": (32, 0.5),
        "processes": (2, 2),
    }


@pytest.mark.parametrize("value", [None, "many", True, float("nan"), float("inf"), -1, 10**400, []])
def test_a_figure_that_is_none_has_no_share(value: object) -> None:
    """Nor has a limit."""
    assert shares({"wall_ms": value}, {"wall_seconds": 1}) == []
    assert shares({"wall_ms": 1}, {"wall_seconds": value}) == []
