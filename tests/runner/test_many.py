"""Many calls of one plugin: ``ToolRunner.map`` and ``amap``."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import arguments
from toolrunner import ToolRunner

SOURCE = """
    import time
    def run(payload):
        if payload["number"] == "bad":
            raise ValueError("bad")
        time.sleep(payload.get("seconds", 0))
        return {"number": payload["number"]}
"""


@pytest.fixture
def runner(write_plugin: WritePlugin, make_runner: MakeRunner) -> ToolRunner:
    """A runner with one plugin."""
    return make_runner(write_plugin(SOURCE))


def test_each_payload_has_one_answer_with_its_index(runner: ToolRunner) -> None:
    """Those that fail too; every one is counted."""
    payloads: list[dict[str, Any]] = [{"number": n} for n in (0, "bad", 2, 3)]
    answers = {index: (result, error) for index, result, error, _ in runner.map("sample", payloads)}
    assert sorted(answers) == [0, 1, 2, 3]
    assert answers[1][0] is None
    assert answers[1][1] is not None
    assert answers[1][1]["error"]["type"] == "ExecutionError"
    assert [answers[n][0] for n in (0, 2, 3)] == [{"number": n} for n in (0, 2, 3)]
    status = runner.registry.get_status("sample")
    assert (status.success_count, status.error_count) == (3, 1)


def test_the_calls_are_the_answers_own(runner: ToolRunner) -> None:
    """Each with what it used."""
    calls = [call for *_, call in runner.map("sample", [{"number": 1}, {"number": 2}])]
    assert len({call.call_id for call in calls}) == 2
    assert all(call.usage.peak_memory_bytes > 0 for call in calls)


def test_it_takes_no_more_payloads_than_it_was_allowed(runner: ToolRunner) -> None:
    """So an endless iterable will do."""
    taken = itertools.count(1)
    last = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal last
        for last in taken:
            yield {"number": last}

    answers = runner.map("sample", endless(), parallel=3)
    for received in range(1, 8):
        next(answers)
        assert last <= received + 2
    answers.close()


def test_closing_it_cancels_what_runs(runner: ToolRunner) -> None:
    """And waits for that: nothing runs on."""
    payloads = [{"number": 0}, {"number": 1, "seconds": 600}, {"number": 2, "seconds": 600}]
    answers = runner.map("sample", payloads, parallel=3)
    assert next(answers)[0] == 0
    answers.close()
    status = runner.registry.get_status("sample")
    assert (status.success_count, status.error_count, status.in_flight) == (1, 2, 0)
    assert [t for t in threading.enumerate() if t.name.startswith("toolrunner-map")] == []


def test_an_error_of_the_payloads_passes(runner: ToolRunner) -> None:
    """After the calls that run have been cancelled."""

    def broken() -> Iterator[dict[str, Any]]:
        yield {"number": 0, "seconds": 600}
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(runner.map("sample", broken(), parallel=2))
    assert runner.registry.get_status("sample").in_flight == 0


def test_nobody_is_as_many_at_once(runner: ToolRunner) -> None:
    """It is said before anything runs."""
    with pytest.raises(ValueError, match="1 or more"):
        runner.map("sample", [], parallel=0)


def test_on_an_event_loop(runner: ToolRunner) -> None:
    """The same, and closing it cancels what runs."""

    async def collect() -> list[int]:
        payloads = [{"number": n} for n in range(5)]
        return [index async for index, result, _, _ in runner.amap("sample", payloads) if result]

    assert sorted(asyncio.run(collect())) == [0, 1, 2, 3, 4]

    async def leave_early() -> None:
        answers = runner.amap("sample", [{"number": 0}, {"number": 1, "seconds": 600}], parallel=2)
        async for index, *_ in answers:
            assert index == 0
            break
        await answers.aclose()

    asyncio.run(leave_early())
    assert runner.registry.get_status("sample").in_flight == 0
    runner.close()
    left = psutil.Process().children(recursive=True)
    assert [p for p in left if "sample" in " ".join(arguments(p))] == []
