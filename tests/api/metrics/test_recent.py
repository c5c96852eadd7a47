"""The last calls of each plugin: whoever has died, however many there are, whatever errors say."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.api.metrics.test_tables import FORK, killed
from toolrunner.api.metrics.recent import _SLOT, BLOCK_BYTES, FAILED, REFUSED, SUCCEEDED, Recent
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.runner.call import Call
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.sandbox.ending import Usage


def succeeded(plugin: str = "sample", seconds: float = 0.01, **about: Any) -> Executed:
    """Return a call that has gone well."""
    call = Call(**about)
    call.usage = Usage(wall_ms=9, cpu_ms=5, peak_memory_bytes=1 << 20, processes=1)
    return Executed(plugin, "success", seconds, call)


def failed(message: str = "no", blame: str = "plugin", **details: Any) -> Executed:
    """Return a call that has failed."""
    usage = {"wall_ms": 7, "cpu_ms": 5}
    details = {"blame": blame, "usage": usage, **details}
    error = {"type": "ExecutionError", "message": message, "details": details, "plugin": "sample"}
    return Executed("sample", "ExecutionError", 0.02, Call(), error)


def test_calls_of_all_workers_are_told_the_newest_first() -> None:
    """With who called, how it started, what it used, and the error as the outside has it."""
    tables = Tables(2)
    first, second = Metrics(tables, 0), Metrics(tables, 1)
    call = Call(caller="shop")
    first.observe(succeeded(caller="shop"))
    second.observe(failed("in /srv/secret/x.py", log_tail="secret"))
    second.observe(Executed("other", "success", 1, call))
    error, fine = first.last_calls("sample")
    assert (fine.outcome, fine.caller, fine.ms, fine.usage["wall_ms"]) == ("success", "shop", 10, 9)
    assert (error.outcome, error.ms, error.usage["wall_ms"]) == ("ExecutionError", 20, 7)
    assert error.error is not None
    assert error.error["message"] == "in x.py"
    assert "log_tail" not in error.error["details"]
    assert next(one.plugin for one in second.last_calls()) == "other"
    assert len(second.last_calls()) == 3


def test_a_call_of_what_nobody_knows_is_not_noted() -> None:
    """Its name is a caller's text."""
    metrics = Metrics(Tables(1))
    metrics.observe(Executed("", "PluginNotFound", 0.1, Call(), failed().error))
    assert metrics.last_calls() == []


def test_no_kind_of_end_pushes_out_another() -> None:
    """Nor does a plugin another one's; of each there are as many as there is room for."""
    metrics = Metrics(Tables(1))
    metrics.observe(failed("kept"))
    metrics.observe(succeeded("quiet"))
    for number in range(50):
        metrics.observe(succeeded(seconds=number))
        metrics.observe(failed("the payload", blame="caller"))
    calls = metrics.last_calls("sample")
    blamed = [one.error["details"]["blame"] for one in calls if one.error]
    assert blamed == ["caller"] * REFUSED.slots + ["plugin"]
    times = [one.ms for one in calls if not one.error]
    assert times == [number * 1000 for number in range(49, 49 - SUCCEEDED.slots, -1)]
    assert len(metrics.last_calls("quiet")) == 1
    for _ in range(50):
        metrics.observe(failed())
    assert sum(bool(one.error) for one in metrics.last_calls("sample")) == (
        REFUSED.slots + FAILED.slots
    )


def test_a_killed_worker_leaves_its_calls_and_the_next_goes_on() -> None:
    """In the same place, behind them."""
    tables = Tables(1)
    for number in range(3):
        killed(partial(lambda seconds: Metrics(tables).observe(succeeded(seconds=seconds)), number))
    assert [one.ms for one in tables.last_calls("sample")] == [2000, 1000, 0]


def test_whatever_an_error_says_there_is_room_for_it() -> None:
    """It is cut, and never longer than its slot; the type and the usage stay."""
    metrics = Metrics(Tables(1))
    for message, more in (
        ("\x00" * 100_000, {}),
        ("\U0001f600" * 100_000, {"exception": "\U0001f600" * 90}),
        ("no", {"log_tail": "x" * 1_000_000}),
        ("no", {"isolation": {"layers": ["x" * 100] * 100}}),
        ("no", {"exception": "x" * 100_000, "remedy": "y" * 100_000}),
    ):
        metrics.observe(failed(message, **more))
        metrics.observe(failed(message, blame="caller", **more))
        for call in metrics.last_calls("sample")[:2]:
            assert call.outcome == "ExecutionError"
            assert call.usage == {"wall_ms": 7, "cpu_ms": 5}
            assert len(json.dumps(call.error)) < FAILED.size
    metrics.observe(succeeded(caller="\U0001f600" * 100_000))
    assert metrics.last_calls("sample")[0].outcome == "success"


def test_a_slot_that_is_not_whole_is_passed_over() -> None:
    """As one is while it is written, or when its writer was killed at that."""
    recent = Recent(most=1)
    for number in range(3):
        recent.note(succeeded(seconds=number))
    memory = recent._memory
    at = memory.find(b'"ms":1000')
    memory[at + 5 : at + 6] = b"2"
    assert sorted(call.ms for call in recent.read("sample")) == [0, 2000]
    slot = memory.rfind(b'"ms":2000')
    slot = memory.rfind(b"{", 0, slot) - _SLOT.size
    _SLOT.pack_into(memory, slot, 3, 0, 0)  # its number is there already: nothing has the sum 0
    assert [call.ms for call in recent.read("sample")] == [0]


def test_more_plugins_than_there_is_room_for_are_not_noted() -> None:
    """And those that are there go on being noted."""
    recent = Recent(most=2)
    for name in ("a", "b", "c", "a"):
        recent.note(succeeded(name))
    assert sorted(call.plugin for call in recent.read()) == ["a", "a", "b"]
    assert len(recent._memory) < 3 * BLOCK_BYTES


def test_who_reads_while_others_write_gets_whole_calls() -> None:
    """Each with the numbers of one call."""
    tables = Tables(1)

    def write() -> None:
        metrics = Metrics(tables)
        for number in range(4000):
            call = Call(call_id=f"{number:032}")
            metrics.observe(Executed("sample", "success", number / 1000, call))

    process = FORK.Process(target=write)
    process.start()
    read = 0
    while process.is_alive():
        for call in tables.last_calls("sample"):
            assert int(call.call_id) == call.ms
            read += 1
    process.join()
    assert process.exitcode == 0
    assert read
