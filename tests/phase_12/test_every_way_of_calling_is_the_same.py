"""Who waits in a thread or an event loop, calls many times, or types a command: all get the same.

What a call answers and what is recorded of it does not depend on which of these has made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from tests.phase_12.test_a_record_says_what_happened import AWKWARD, OBEDIENT
from tests.phase_12.test_bugs_of_ours_are_told import failing
from toolrunner import ToolRunner
from toolrunner.api.cli.calls import Work, run_calls
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.threads import CallThreads

PAYLOADS: list[Any] = [{}, {"answer": AWKWARD}, {"fail": "plugin"}, {"fail": "caller"}, 7, {}]
TYPES = [None, None, "ExecutionError", "ValidationError", "ValidationError", None]
Answers = list[tuple[Any, Any]]


def by_run(tool_runner: ToolRunner) -> Answers:
    """Wait in this thread."""
    return [tool_runner.run("sample", payload) for payload in PAYLOADS]


def by_arun(tool_runner: ToolRunner) -> Answers:
    """Wait in an event loop."""

    async def all_of() -> Answers:
        return [await tool_runner.arun("sample", payload) for payload in PAYLOADS]

    return asyncio.run(all_of())


def by_map(tool_runner: ToolRunner) -> Answers:
    """Take the answers as they come: in order, since there is one at a time."""
    many = list(tool_runner.map("sample", PAYLOADS, parallel=1))
    assert [index for index, *_ in many] == list(range(len(PAYLOADS)))
    return [(result, envelope) for _, result, envelope, _ in many]


def by_amap(tool_runner: ToolRunner) -> Answers:
    """Take them in an event loop."""

    async def all_of() -> Answers:
        many = tool_runner.amap("sample", PAYLOADS, parallel=1)
        return [(result, envelope) async for _, result, envelope, _ in many]

    return asyncio.run(all_of())


def by_command(tool_runner: ToolRunner) -> Answers:
    """Call as commands do."""
    work = [Work(lambda payload=payload: payload) for payload in PAYLOADS]  # type: ignore[misc]
    done = run_calls(analysis_of(tool_runner), "sample", work)
    return [(one.result, one.envelope) for one in done]


@pytest.mark.parametrize("way", [by_run, by_arun, by_map, by_amap, by_command])
def test_answers_and_records_are_the_same(
    way: Callable[[ToolRunner], Answers], write_plugin: WritePlugin
) -> None:
    """Results as the plugin gave them, errors with both halves, each call recorded once."""
    registry = RecordingRegistry.discover([write_plugin(OBEDIENT)])
    with ToolRunner(registry) as tool_runner:
        answers = way(tool_runner)
    assert [result for result, _ in answers] == [{}, AWKWARD, None, None, None, {}]
    errors = [envelope for _, envelope in answers]
    assert [one and one["error"]["type"] for one in errors] == TYPES
    assert [one and (one.keys(), one["error"]["plugin"]) for one in errors] == [
        kind and ({"error", "_internal"}, "sample") for kind in TYPES
    ]
    assert errors[2]["_internal"]["traceback"].endswith("ValueError: a bug\n")
    states = ["INITIALIZED", "INITIALIZED", "FAILED", "FAILED", "FAILED", "INITIALIZED"]
    assert registry.begun == ["sample"] * len(PAYLOADS)
    assert registry.ended == [
        ("sample", state, kind is not None) for state, kind in zip(states, TYPES, strict=True)
    ]


def test_the_threads_of_an_event_loop_keep_no_bug() -> None:
    """What ToolRunner itself would have to raise is raised where the call is awaited."""
    threads = CallThreads(1)
    try:
        for bug in (LookupError, KeyboardInterrupt):
            with pytest.raises(bug):
                asyncio.run(threads.run(failing(bug), lambda: None))
    finally:
        threads.close()
