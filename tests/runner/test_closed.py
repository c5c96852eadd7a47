"""A ToolRunner that has been closed: it says so, whichever way it is asked."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.runner.errors import ErrorType, GovernedError

PATIENCE_SECONDS = 30.0
CLOSED = "this ToolRunner is closed; make a new one"
ECHO = "def run(payload):\n    return payload\n"
WAITING = """
    import time

    def run(payload, context):
        context.progress(0.5)
        time.sleep(1000)
"""


def check_refused(answer: tuple[Any, Any]) -> None:
    """Check that a call was refused since its runner is closed."""
    result, error = answer
    assert result is None
    assert (error["error"]["type"], error["error"]["message"]) == ("SandboxError", CLOSED)
    details = error["error"]["details"]
    assert (details["remedy"], details["retryable"]) == ("make a new one", False)


def test_a_call_of_a_closed_runner_says_so(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """In an envelope, recorded once, whether it ever ran anything or not."""
    for calls in (0, 1):
        tool_runner = make_runner(write_plugin(ECHO))
        for _ in range(calls):
            assert tool_runner.run("sample", {}) == ({}, None)
        tool_runner.close()
        check_refused(tool_runner.run("sample", {}))
        status = tool_runner.registry.get_status("sample")
        assert (status.success_count, status.error_count, status.in_flight) == (calls, 1, 0)
        assert status.state != "FAILED"  # nothing is wrong with the plugin


def test_arun_of_a_closed_runner_says_so(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """As ``run`` does: recorded once."""
    tool_runner = make_runner(write_plugin(ECHO))
    tool_runner.close()
    check_refused(asyncio.run(tool_runner.arun("sample", {})))
    assert tool_runner.registry.get_status("sample").error_count == 1


@pytest.mark.parametrize("load", [ToolRunner.start, ToolRunner.warm_up])
def test_nothing_is_loaded_by_a_closed_runner(
    load: Any, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """``start`` and ``warm_up`` raise what says so."""
    tool_runner = make_runner(write_plugin(ECHO))
    tool_runner.close()
    with pytest.raises(GovernedError, match=CLOSED) as raised:
        load(tool_runner, "sample")
    assert raised.value.error_type is ErrorType.SANDBOX_ERROR


def test_closing_twice_is_closing_once(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """Also by leaving a context whose runner was closed in it."""
    with make_runner(write_plugin(ECHO)) as tool_runner:
        tool_runner.run("sample", {})
        tool_runner.close()
        tool_runner.close()
    check_refused(tool_runner.run("sample", {}))


def test_a_closed_runner_is_no_context(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """It cannot be opened again."""
    tool_runner = make_runner(write_plugin(ECHO))
    tool_runner.close()
    with pytest.raises(RuntimeError, match=CLOSED), tool_runner:
        pass


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_call_that_is_cut_off_says_so(
    write_plugin: WritePlugin, make_runner: MakeRunner, *, start: str, is_running: bool
) -> None:
    """Whatever was being done for it when its runner was closed."""
    tool_runner = make_runner(write_plugin(WAITING, start=f'"{start}"'))
    begun, answers = threading.Event(), []
    call = Call(on_progress=lambda _fraction, _message: begun.set())
    if not is_running:  # perhaps its box is just being made
        begun.set()
    thread = threading.Thread(
        target=lambda: answers.append(tool_runner.run("sample", {}, call=call))
    )
    thread.start()
    assert begun.wait(PATIENCE_SECONDS)
    while not call.used:
        assert thread.is_alive()
    tool_runner.close()
    thread.join(PATIENCE_SECONDS)
    check_refused(answers[0])


def test_calls_that_wait_when_it_closes_are_refused(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The one that runs is ended, and the one that has its place then finds it closed."""
    tool_runner = make_runner(write_plugin(WAITING), max_concurrent=1)
    begun = threading.Event()
    answers: dict[str, tuple[Any, Any]] = {}

    def run(name: str, call: Call) -> None:
        answers[name] = tool_runner.run("sample", {}, call=call)

    calls = {
        "first": Call(on_progress=lambda _fraction, _message: begun.set()),
        "second": Call(),
    }
    threads = [threading.Thread(target=run, args=item) for item in calls.items()]
    threads[0].start()
    assert begun.wait(PATIENCE_SECONDS)
    threads[1].start()
    while not tool_runner.waiting:
        assert threads[1].is_alive()
    tool_runner.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    for answer in answers.values():
        check_refused(answer)
