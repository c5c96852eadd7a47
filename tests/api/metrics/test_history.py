"""What the figures have been: who writes it, who reads it, and what is reckoned from it."""

from __future__ import annotations

import math
import os

import pytest

from toolrunner.api.metrics import families
from toolrunner.api.metrics.history import BOUNDS, OUTCOMES, History, _Ring, quantile
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.page import figures
from toolrunner.runner.call import Call
from toolrunner.runner.services.plugin_management import Executed


def times(**of: float) -> list[float]:
    """Return how many calls took so long, by the bounds that are named ``to_0_1``."""
    named = {name.removeprefix("to_").replace("_", "."): number for name, number in of.items()}
    return [named.get(bound, 0.0) for bound in BOUNDS]


@pytest.mark.parametrize(
    ("share", "taken", "seconds"),
    [
        (0.5, times(), None),
        (0.5, times(to_0_1=10), 0.1),
        (0.99, times(to_0_1=10), 0.1),
        (0.5, times(to_0_001=4), 0.001),
        (0.99, times(to_5=1), 5),  # of 3 s: nobody knows that it was not 4.98
        (0.5, times(to_0_1=50, to_1=50), 0.1),
        (0.99, times(to_0_1=99, to_1=1), 0.1),
        (0.999, times(to_0_1=99, to_1=1), 1),
    ],
)
def test_quantiles_are_bounds_of_buckets(
    share: float, taken: list[float], seconds: float | None
) -> None:
    """So long they took at most, and no number between two bounds is made up."""
    assert quantile(share, taken) == seconds


def test_what_is_beyond_the_last_bound_is_drawn_there() -> None:
    """Nobody knows how much longer it was."""
    assert quantile(0.5, [*[0.0] * (len(BOUNDS) - 1), 3.0]) == math.inf
    tables, history = Tables(1), History()
    metrics = Metrics(tables, 0, history)
    history.note(tables.read())
    metrics.observe(Executed("p", "success", 100.0, Call()))
    history.note(tables.read())
    found = figures.points(history, 60)
    assert found[0].p99_ms == math.inf
    assert figures.drawn(found)["p99"] == [families.SECONDS[-1] * 1000]


def test_a_ring_keeps_the_newest() -> None:
    """Those that were written over are nobody's any more."""
    ring = _Ring(3, 16)
    for number in range(1, 6):
        ring.write(bytes(8) + number.to_bytes(8, "little"))
    assert list(ring.numbers()) == [3, 4, 5]
    read = [ring.read(number) for number in range(1, 7)]
    assert [one and int.from_bytes(one[8:], "little") for one in read] == [
        None,
        None,
        3,
        4,
        5,
        None,
    ]


def test_who_dies_while_writing_leaves_nothing_to_read() -> None:
    """A slot counts only when all of it is there."""
    ring = _Ring(3, 16)
    ring.write(bytes(8) + b"complete")
    child = os.fork()
    if not child:
        ring._memory[ring._at(2) + 8 : ring._at(2) + 12] = b"half"
        os._exit(0)
    os.waitpid(child, 0)
    assert [ring.read(number) is None for number in (1, 2)] == [False, True]
    ring.write(bytes(8) + b"complete")
    assert ring.read(2) is not None


def test_another_process_reads_what_one_has_counted() -> None:
    """Rates, failures by type and times of what lies between two looks; and each plugin's own."""
    tables, history = Tables(2), History()
    metrics = Metrics(tables, 1, history)
    metrics.observe(Executed("old", "success", 5.0, Call()))
    history.note(tables.read())
    for plugin, outcome, seconds in [
        ("quick", "success", 0.04),
        ("quick", "success", 0.04),
        ("quick", "TimeLimitExceeded", 30.0),
        ("slow", "ExecutionError", 2.0),
    ]:
        metrics.observe(Executed(plugin, outcome, seconds, Call()))
    metrics.waiting(3)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        history._next_of_plugins = 0.0
        history.note(tables.read())
        os.write(write, b"!")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    before, after = history.samples(60)
    passed = after.clock - before.clock
    point = figures.latest(history, 60)
    assert point is not None
    assert point.rate == pytest.approx(4 / passed)
    assert point.failed_rate == pytest.approx(2 / passed)
    assert point.failures == {"TimeLimitExceeded": 1, "ExecutionError": 1}
    assert point.p50_ms == pytest.approx(50)
    assert point.after.waiting == 3
    assert point.after.calls[0] == 3
    found = figures.of_plugins(history)
    assert found.keys() == {"old", "quick", "slow"}
    assert (found["old"].rate, found["old"].p50_ms) == (0, None)
    assert found["quick"].failures == {"TimeLimitExceeded": 1}
    assert found["slow"].p99_ms == pytest.approx(2500)


def test_what_is_drawn_is_bounded() -> None:
    """So many points at most, whatever lies between them; nothing of nothing."""
    history = History()
    assert figures.drawn(figures.points(history, 900)) == {
        "at": [], "rate": [], "p50": [], "p99": [], "waiting": [], "failures": {},
    }  # fmt: skip
    assert figures.latest(history, 60) is None
    assert figures.of_plugins(history) == {}
    for _ in range(2000):
        history.note([])
    assert len(history.samples(900)) == 1440
    assert len(figures.points(history, 7200)) == 179


def test_every_outcome_has_its_place() -> None:
    """Of a type that is added, failures are drawn as of all others."""
    tables, history = Tables(1), History()
    metrics = Metrics(tables, 0, history)
    history.note(tables.read())
    for outcome in OUTCOMES:
        metrics.observe(Executed("p", outcome, 0.1, Call()))
    history.note(tables.read())
    point = figures.latest(history, 60)
    assert point is not None
    assert point.failures.keys() == set(OUTCOMES[1:])


@pytest.mark.parametrize("moments", [2, 3, 180, 500])
def test_spans_lie_side_by_side(moments: int) -> None:
    """Each call is in one of them, whenever it was; where they meet stays as time goes by."""
    tables, history = Tables(1), History()
    metrics = Metrics(tables, 0, history)
    history.note(tables.read())
    for moment in range(1, moments):
        metrics.observe(Executed("p", OUTCOMES[moment % 2], 0.1, Call()))
        history.note(tables.read())
    found = figures.spans(history, 900, 8)
    assert sum(one.calls for one in found) == moments - 1
    assert sum(sum(one.failures.values()) for one in found) == moments // 2
    assert [one.after for one in found[:-1]] == [one.before for one in found[1:]]
    assert len(found) <= moments / 180 * 8 + 2
    history.note(tables.read())
    inner = [one.after for one in found[:-1]]
    assert [one.after for one in figures.spans(history, 900, 8)][: len(inner)] == inner


def test_only_failures_that_are_not_the_callers_alarm() -> None:
    """What a caller sends is not for the operator to mend."""
    tables, history = Tables(1), History()
    metrics = Metrics(tables, 0, history)
    history.note(tables.read())
    metrics.observe(Executed("asked", "ValidationError", 0.1, Call()))
    metrics.observe(Executed("asked", "Cancelled", 0.1, Call()))
    metrics.observe(Executed("broken", "ValidationError", 0.1, Call()))
    metrics.observe(Executed("broken", "ExecutionError", 0.1, Call()))
    history._next_of_plugins = 0.0
    history.note(tables.read())
    found = figures.of_plugins(history)
    assert found["asked"].failed_rate
    assert (found["asked"].is_alarming, found["broken"].is_alarming) == (False, True)
