"""Whatever fails in the runner's own code is told, recorded and counted, wherever it happens."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from tests.phase_12.test_services_pass_on_what_they_are_given import Answering, Stage
from toolrunner import Call, ToolRunner
from toolrunner.runner import tool_runner as home
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import Submission
from toolrunner.runner.payloads import validation
from toolrunner.sandbox.sandbox import Sandbox

# One of each family that somebody may want to treat otherwise, and some that are seldom thought of.
BUGS = [
    MemoryError, OSError, TimeoutError, BrokenPipeError, ValueError, UnicodeError, KeyError,
    IndexError, TypeError, AttributeError, AssertionError, RecursionError, NotImplementedError,
    StopIteration, StopAsyncIteration, ZeroDivisionError, EOFError, BufferError, ImportError,
    ReferenceError, SyntaxError, SystemError, UserWarning, Exception,
]  # fmt: skip


def failing(bug: type[Exception]) -> Any:
    """Return a function that raises it, whatever it is asked."""

    def fail(*_given: object, **_named: object) -> None:
        raise bug("ours")

    return fail


@pytest.fixture
def registry(write_plugin: WritePlugin) -> RecordingRegistry:
    """The registry of one plugin, which is never reached."""
    return RecordingRegistry.discover([write_plugin("def run(payload): return {}")])


@pytest.mark.parametrize("place", ["look-up", "validation", "sandbox"])
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_at_any_step_is_an_error(
    bug: type[Exception],
    place: str,
    registry: RecordingRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never a result: an InternalError, recorded once as an error, with no call left in flight."""
    sandbox = Sandbox()
    owner: Any = {"look-up": registry, "validation": validation, "sandbox": sandbox}[place]
    step = {"look-up": "plugin", "validation": "validate_json_payload", "sandbox": "call"}[place]
    monkeypatch.setattr(owner, step, failing(bug))
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        result, envelope = tool_runner.run("sample", {})
    assert result is None
    assert envelope is not None
    assert envelope["error"]["type"] == "InternalError"
    assert bug.__name__ in envelope["error"]["message"]
    assert "ours" in envelope["_internal"]["traceback"]
    assert registry.ended == [("sample", "LOADED", True)]
    status = registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (0, 1, 0)


@pytest.mark.parametrize("caller", ["", "me", "local"])
@pytest.mark.parametrize("with_listener", [False, True])
@pytest.mark.parametrize(
    ("keys", "payload"),
    [
        ({}, {"n": object()}),
        ({}, {"n": float("nan")}),
        ({}, None),
        ({"input": "image", "accepts": '["image/png"]'}, {"image": b"", "mime_type": "image/png"}),
        ({"input": "image", "accepts": '["image/png"]'}, {"image": b"x", "mime_type": "image/gif"}),
    ],
)
def test_nobody_is_spared_validation(
    keys: dict[str, Any],
    payload: Any,
    caller: str,
    write_plugin: WritePlugin,
    monkeypatch: pytest.MonkeyPatch,
    *,
    with_listener: bool,
) -> None:
    """Whoever calls, and however: what is refused does not come to the sandbox."""
    registry = RecordingRegistry.discover([write_plugin("def run(payload): return {}", **keys)])
    sandbox = Sandbox()
    monkeypatch.setattr(sandbox, "call", failing(AssertionError))
    call = Call(caller=caller, on_progress=(lambda _done, _text: None) if with_listener else None)
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        result, envelope = tool_runner.run("sample", payload, call=call)
    assert result is None
    assert envelope is not None
    assert envelope["error"]["type"] == "ValidationError"
    assert [failed for _name, _state, failed in registry.ended] == [True]


class Clock:
    """Stands where ``time`` does in ToolRunner's module; goes on when it is told to alone."""

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
    monkeypatch.setattr(home, "time", SimpleNamespace(monotonic=clock.monotonic))
    slowed: list[tuple[Any, str, float]] = [
        (registry, "own_status", 1),
        (registry, "plugin", 2),
        (validation, "validate_json_payload", 4),
        (sandbox, "call", 8),
        (validation, "parse_result", 16),
    ]
    for owner, step, seconds in slowed:
        monkeypatch.setattr(owner, step, clock.delayed(getattr(owner, step), seconds))
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        tool_runner.run("sample", payload)
    assert registry.times_ms == [7000 if payload else 31000]


class Breaking(Answering):
    """Stands where ToolRunner does, with a bug that ToolRunner would have to have."""

    def __init__(self) -> None:
        super().__init__(({}, None))

    def run(self, *_given: Any, **_named: Any) -> Any:
        """Fail."""
        raise LookupError("ours")


def test_a_bug_around_a_job_is_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing on the way of a job keeps an exception to itself: it is logged, the job not ended."""
    stage = Stage(tmp_path, Breaking())
    job, _ = stage.analysis.submit(Submission("sample", {"n": 1}, "me"))
    dispatcher = JobDispatcher(stage.store, stage.analysis, threads=1)

    def has_ended() -> bool:
        kept = stage.store.get(job.id)
        return kept is None or kept.status.has_ended

    dispatcher.start()
    while "LookupError: ours" not in caplog.text and not has_ended():
        dispatcher.wake()
    dispatcher.drain(10)
    assert "LookupError: ours" in caplog.text
    assert not has_ended()
    stage.close()
