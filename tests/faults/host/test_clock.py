"""The clock of the host is stepped: deadlines and durations are those of a clock that is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.faults.host.conftest import Books, error_of

YEAR_SECONDS = 365 * 86400
STEPS = (
    "import time\nreal = time.time\ntime.time = lambda: real() + {step}\n"
    "def run(payload, context):\n"
    "    left = context.seconds_left()\n"
    "    if payload.get('hang'): time.sleep(20)\n"
    "    return {{'left': left}}\n"
)


@pytest.mark.parametrize("step", [YEAR_SECONDS, -YEAR_SECONDS], ids=["forwards", "backwards"])
def test_a_stepped_clock_moves_no_deadline(
    step: int, keep_books: Callable[..., Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the runner and in the plugin, by what both would ask for the time."""
    books = keep_books(STEPS.format(step=step), limits="{ wall_seconds = 2 }")
    books.tool_runner.start("sample")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    result, error = books.call()
    assert error is None
    assert result is not None
    assert 0 < result["left"] <= 2
    monkeypatch.setattr(time, "time", lambda: real() - step)
    late = error_of(books.call(hang=True))
    assert late["type"] == "TimeLimitExceeded"
    observed = late["details"]["limit"]["observed"]
    assert observed is not None
    assert 2 <= observed < 20
    assert 2000 <= late["details"]["usage"]["wall_ms"] < 20_000
    assert datetime.fromisoformat(late["timestamp"]).tzinfo is not None
    status = books.tool_runner.registry.get_status("sample")
    assert status is not None
    assert status.last_execution_time_ms is not None
    assert 2000 <= status.last_execution_time_ms < 20_000
    assert status.uptime_seconds >= 0
