"""``arun``: calls from an event loop, which goes on while they run."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner

PATIENCE_SECONDS = 120.0
ECHO = "def run(payload):\n    return payload\n"
WAITING = """
import time
def run(payload, context):
    context.progress(0.5)
    time.sleep(60)
"""


def test_it_returns_what_run_returns(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """Results and envelopes alike."""
    tool_runner = make_runner(write_plugin(ECHO))

    async def both() -> tuple[Any, Any]:
        return await tool_runner.arun("sample", {"n": 1}), await tool_runner.arun("nothing", {})

    (result, error), (nothing, envelope) = asyncio.run(both())
    assert (result, error) == ({"n": 1}, None)
    assert nothing is None
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginNotFound"


def test_calls_run_side_by_side(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """More of them than there are places: each gets its answer."""
    tool_runner = make_runner(write_plugin(ECHO), max_concurrent=2, max_waiting=30)

    async def many() -> list[Any]:
        return await asyncio.gather(*(tool_runner.arun("sample", {"n": n}) for n in range(12)))

    assert asyncio.run(many()) == [({"n": n}, None) for n in range(12)]


def test_too_many_calls_are_overloaded_and_hold_up_nothing(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Those beyond the queue are turned away while the first still runs."""
    tool_runner = make_runner(write_plugin(WAITING), max_concurrent=1, max_waiting=1)

    async def flood() -> list[str]:
        calls = [Call() for _ in range(6)]
        tasks = [asyncio.create_task(tool_runner.arun("sample", {}, call=call)) for call in calls]
        for finished in itertools.islice(asyncio.as_completed(tasks), 4):
            _result, error = await finished
            assert error is not None
            assert error["error"]["type"] == "Overloaded"
        for call in calls:
            call.cancel()
        answers = await asyncio.gather(*tasks)
        return sorted(error["error"]["type"] for _result, error in answers if error is not None)

    assert asyncio.run(flood()) == ["Cancelled"] * 2 + ["Overloaded"] * 4


@pytest.mark.parametrize("times", [1, 2])
def test_cancelling_the_task_kills_the_call(
    times: int, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The task ends when the call has ended and is recorded, however often it is cancelled."""
    tool_runner = make_runner(write_plugin(WAITING))

    async def cancelled(running: ToolRunner) -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_progress(_fraction: float, _message: str) -> None:
            loop.call_soon_threadsafe(begun.set)

        call = Call(on_progress=on_progress)
        task = asyncio.create_task(running.arun("sample", {}, call=call))
        await asyncio.wait_for(begun.wait(), PATIENCE_SECONDS)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled
        status = running.registry.get_status("sample")
        assert status is not None
        assert (status.error_count, status.state) == (1, "LOADED")

    asyncio.run(cancelled(tool_runner))
