"""Whatever fails in the runner's own code is told, recorded and counted, wherever it happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from tests.phase_12.test_services_pass_on_what_they_are_given import Answering, Stage
from toolrunner import ToolRunner
from toolrunner.plugins.errors import ManifestError
from toolrunner.runner import tool_runner as tool_runner_module
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import Job, JobStatus, Submission
from toolrunner.runner.many import arun_many, run_many
from toolrunner.runner.payloads import validation
from toolrunner.sandbox.ending import Ending, Returned, Usage
from toolrunner.sandbox.ending import Stage as EndingStage
from toolrunner.sandbox.forks import ForkedError
from toolrunner.sandbox.sandbox import Sandbox

PATIENCE_SECONDS = 120.0


def told_apart(owner: type[Exception] = Exception) -> Iterator[type[Exception]]:
    """Yield every exception of Python and of ours that a bug may be; not what the runner means."""
    for bug in owner.__subclasses__():
        if issubclass(bug, GovernedError | ForkedError | ManifestError):
            continue
        yield from told_apart(bug)
        home = bug.__module__.partition(".")[0]
        with contextlib.suppress(Exception):  # one that takes more than words to make
            bug("ours")
            if home == "toolrunner" or home in sys.stdlib_module_names:
                yield bug


def failing(bug: type[BaseException]) -> Any:
    """Return a function that raises it, whatever it is asked."""

    def fail(*_given: object, **_named: object) -> None:
        raise bug("ours")

    return fail


@pytest.fixture
def registry(write_plugin: WritePlugin) -> RecordingRegistry:
    """The registry of one plugin, which is never reached."""
    return RecordingRegistry.discover([write_plugin("def run(payload): return {}")])


@pytest.mark.parametrize("place", ["look-up", "validation", "sandbox", "reading"])
def test_a_bug_at_any_step_is_an_error(
    place: str, registry: RecordingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a result: an InternalError, recorded once as an error, with no call left in flight."""
    sandbox = Sandbox()
    ending = Ending(EndingStage.RUN, reply=Returned(b"{}"))
    monkeypatch.setattr(sandbox, "call", lambda *_given, **_named: ending)
    steps: dict[str, tuple[Any, str]] = {
        "look-up": (registry, "plugin"),
        "validation": (validation, "validate_json_payload"),
        "sandbox": (sandbox, "call"),
        "reading": (validation, "parse_result"),
    }
    owner, step = steps[place]
    bugs: list[type[Exception]] = [Exception, *sorted(set(told_apart()), key=str)]
    assert {FileNotFoundError, MemoryError, StopIteration, UserWarning} <= set(bugs)
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        for number, bug in enumerate(bugs, 1):
            monkeypatch.setattr(owner, step, failing(bug))
            result, envelope = tool_runner.run("sample", {})
            assert result is None, bug
            assert envelope is not None, bug
            assert envelope["error"]["type"] == "InternalError", bug
            assert bug.__name__ in envelope["error"]["message"]
            assert bug.__name__ in envelope["_internal"]["traceback"]
            assert registry.ended[number - 1 :] == [("sample", "LOADED", True)], bug
            status = registry.get_status("sample")
            assert status is not None
            assert (status.success_count, status.error_count) == (0, number), bug
            assert status.in_flight == 0


@pytest.mark.parametrize("step", ["log", "breaker"])
def test_a_bug_behind_the_record_takes_nothing_of_it(
    step: str,
    registry: RecordingRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call has the outcome that it has, is recorded once, and the log has the bug."""
    places: dict[str, tuple[Any, str]] = {
        "log": (tool_runner_module, "log_failure"),
        "breaker": (registry, "heard"),
    }
    monkeypatch.setattr(*places[step], failing(LookupError))
    with ToolRunner(registry) as tool_runner:
        result, envelope = tool_runner.run("sample", {"n": object()})
    assert result is None
    assert envelope is not None
    assert envelope["error"]["type"] == "ValidationError"
    assert registry.ended == [("sample", "LOADED", True)]
    [record] = [one for one in caplog.records if one.exc_info]
    assert "what was done around it failed" in record.getMessage()


class Raising(logging.Handler):
    """A handler of an application's that raises what comes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise."""
        raise LookupError(record.getMessage())


@pytest.mark.parametrize("name", ["sample", "nobody"])
@pytest.mark.parametrize("bug", [None, RuntimeError])
def test_a_log_that_raises_is_no_part_of_a_call(
    name: str,
    bug: type[Exception] | None,
    registry: RecordingRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor of its count, whatever there was to log: a failed call, a bug, a name nobody knows."""
    handler, logger = Raising(), logging.getLogger("toolrunner")
    if bug is not None:
        monkeypatch.setattr(validation, "validate_json_payload", failing(bug))
    logger.addHandler(handler)
    try:
        with ToolRunner(registry) as tool_runner:
            result, envelope = tool_runner.run(name, {"n": object()})
    finally:
        logger.removeHandler(handler)
    assert result is None
    assert envelope is not None
    known = "InternalError" if bug else "ValidationError"
    assert envelope["error"]["type"] == (known if name == "sample" else "PluginNotFound")
    assert [(one, had_error) for one, _, had_error in registry.ended] == [(name, True)]


class Clock:
    """Goes on when it is told to alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Return its time, in seconds."""
        return self.now

    def delayed(self, step: Any, seconds: float) -> Any:
        """Return a step that takes so long."""

        def slow(*given: Any, **named: Any) -> Any:
            self.now += seconds
            return step(*given, **named)

        return slow


@pytest.mark.parametrize("payload", [{}, {"n": object()}])
def test_every_step_is_in_the_time(
    payload: dict[str, Any], registry: RecordingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Look-up, validation, the call and the judgement: each second of each, of failures too."""
    clock = Clock()
    sandbox = Sandbox()
    ending = Ending(EndingStage.RUN, Usage(wall_ms=5), reply=Returned(b"{}"))
    monkeypatch.setattr(sandbox, "call", lambda *_given, **_named: ending)
    slowed: list[tuple[Any, str, float]] = [
        (registry, "own_status", 1),
        (registry, "plugin", 2),
        (validation, "validate_json_payload", 4),
        (sandbox, "call", 8),
        (validation, "parse_result", 16),
    ]
    for owner, step, seconds in slowed:
        monkeypatch.setattr(owner, step, clock.delayed(getattr(owner, step), seconds))
    with ToolRunner(registry, sandbox=sandbox) as tool_runner, monkeypatch.context() as patch:
        # Nothing waits meanwhile: no box is there, and threads have their own.
        for name in ("monotonic", "perf_counter"):
            patch.setattr(time, name, clock.monotonic)
        tool_runner.run("sample", payload)
    assert registry.times_ms == [7000 if payload else 31000]


class Breaking(Answering):
    """Stands where ToolRunner does, with a bug that ToolRunner would have to have."""

    def __init__(self) -> None:
        super().__init__(({}, None))

    def run(self, *_given: Any, **_named: Any) -> Any:
        """Fail."""
        raise LookupError("ours")


def test_a_bug_around_many_calls_is_no_end_of_them() -> None:
    """What ToolRunner itself would have to raise leaves ``map`` and ``amap`` as it is."""
    with pytest.raises(LookupError, match="ours"):
        list(run_many(failing(LookupError), [{}, {}], 2))

    async def all_of() -> None:
        async def fail(*_given: object) -> None:
            raise LookupError("ours")

        async for _ in arun_many(fail, [{}, {}], 2):
            pass

    with pytest.raises(LookupError, match="ours"):
        asyncio.run(all_of())


def test_a_bug_around_a_job_is_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing on the way of a job keeps an exception to itself: it is logged, and the job's end."""
    stage = Stage(tmp_path, Breaking())
    job, _ = stage.analysis.submit(Submission("sample", {"n": 1}, "me"))
    dispatcher = JobDispatcher(stage.store, stage.analysis, threads=1)

    def kept() -> Job:
        found = stage.store.get(job.id)
        assert found is not None
        return found

    dispatcher.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not kept().status.has_ended:
        assert time.monotonic() < deadline, "it never ended"
        dispatcher.wake()
    dispatcher.drain(10)
    assert "LookupError: ours" in caplog.text
    ended = kept()
    # It had begun, and nobody has allowed it a second time.
    assert (ended.status, ended.attempts) == (JobStatus.FAILED, 1)
    assert ended.error is not None
    assert ended.error["type"] == "InternalError"
    assert "LookupError on the way of the job" in ended.error["message"]
    stage.close()
