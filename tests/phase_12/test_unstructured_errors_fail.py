"""No raw exception leaves ToolRunner, and what only looks like an error is none."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.sandbox.layers import Layers

RAISABLE = sorted(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type)
    and issubclass(value, BaseException)
    and not issubclass(value, UnicodeError | BaseExceptionGroup)
)
# What an uncaught one of these says is a limit's doing, whoever raised it.
LIMITS = {"MemoryError": "MemoryLimitExceeded"}


def structured(answer: tuple[Any, Any]) -> dict[str, Any]:
    """Assert that an answer is an envelope of a known type; return the error in it."""
    result, envelope = answer
    assert result is None
    assert envelope.keys() == {"error", "_internal"}
    error: dict[str, Any] = envelope["error"]
    assert error.keys() == {"type", "message", "details", "plugin", "timestamp"}
    assert error["type"] in {t.value for t in ErrorType}
    assert error["message"]
    assert isinstance(envelope["_internal"]["traceback"], str)
    return error


def recorded(tool_runner: ToolRunner, errors: int = 1) -> None:
    """Assert that as many calls were recorded, all of them as errors, and none is in flight."""
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (0, errors, 0)


def test_every_builtin_exception_becomes_an_envelope(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whatever ``run`` raises, BaseException included, is an ExecutionError that names it."""
    plugin = write_plugin(
        "import builtins\ndef run(payload):\n    raise getattr(builtins, payload['name'])('why')\n"
    )
    tool_runner = make_runner(plugin)
    for count, name in enumerate(RAISABLE, 1):
        error = structured(tool_runner.run("sample", {"name": name}))
        assert error["type"] == LIMITS.get(name, "ExecutionError"), name
        # IOError and EnvironmentError are other names of OSError.
        assert error["details"]["exception"] == getattr(builtins, name).__name__
        recorded(tool_runner, count)


@pytest.mark.parametrize(
    "body",
    [
        "def run(payload): raise ExceptionGroup('several', [ValueError('a'), TypeError('b')])",
        "def run(payload): raise b''.decode.__class__",
        "def run(payload): raise 'a string'",
        "def run(payload): raise None",
        "def run(): return {}",
        "def run(payload, more, and_more): return {}",
        "async def run(payload): return 7",
        "def run(payload): yield {}",
        "run = 7",
        "class Plugin:\n    pass",
        "class Plugin:\n    def __init__(self, needed): pass\n    def run(self, payload): pass",
        "",
        "def run(payload) return {}",
        "import no_such_module_anywhere",
        "raise RuntimeError('at import')",
        "def run(payload): return Exception('returned')",
        "def run(payload): return ({}, None)",
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_every_mistake_in_a_plugin_becomes_an_envelope(
    body: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The usual slips of authors, each of them the plugin's fault."""
    tool_runner = make_runner(write_plugin(body))
    error = structured(tool_runner.run("sample", {}))
    assert error["details"]["blame"] == "plugin"
    recorded(tool_runner)


class Broken(Mapping[str, Any]):
    """A payload that raises wherever it is touched."""

    def __getitem__(self, key: str) -> Any:
        raise OSError(key)

    def __iter__(self) -> Iterator[str]:
        raise OSError("iter")

    def __len__(self) -> int:
        raise OSError("len")

    def __repr__(self) -> str:
        raise OSError("repr")


class EvilStr(str):
    """A key or value that is a string only by name."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise OSError("eq")

    __hash__ = str.__hash__

    def __len__(self) -> int:
        raise OSError("len")


@pytest.mark.parametrize(
    "payload",
    [Broken(), {"x": Broken()}, {"x": EvilStr("x")}, {EvilStr("x"): 1}, object(), {"x": [object]}],
    ids=["broken", "broken inside", "string inside", "key", "object", "class inside"],
)
@pytest.mark.parametrize("kind", ["json", "image"])
def test_a_payload_that_raises_is_an_envelope_too(
    payload: Any, kind: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Callers do not always keep to types."""
    keys = {"accepts": '["image/png"]'} if kind == "image" else {}
    tool_runner = make_runner(write_plugin("def run(p): return {}", input=kind, **keys))
    structured(tool_runner.run("sample", payload))
    recorded(tool_runner)


def test_a_listener_that_raises_ends_nothing(
    write_plugin: WritePlugin, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller's own mistake is logged; the call goes on."""

    def fail(_fraction: float, _message: str) -> None:
        raise LookupError("in the caller's code")

    plugin = write_plugin("def run(payload, context): context.progress(1); return {'a': 1}")
    with caplog.at_level(logging.ERROR, "toolrunner.runner"):
        answer = make_runner(plugin).run("sample", {}, call=Call(on_progress=fail))
    assert answer == ({"a": 1}, None)
    assert "in the caller's code" in caplog.text


class FaultyRegistry(PluginRegistry):
    """A registry with a bug."""

    def own_status(self, name: str) -> PluginStatus | None:
        """Fail as no registry should."""
        message = f"{name}: the registry is broken"
        raise ArithmeticError(message)


def test_a_bug_of_ours_is_an_envelope(
    write_plugin: WritePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """It says that it is ours, and its words and its traceback go to the log."""
    registry = FaultyRegistry.discover([write_plugin("def run(payload): return {}")])
    with ToolRunner(registry) as tool_runner, caplog.at_level(logging.ERROR, "toolrunner"):
        answer = tool_runner.run("sample", {})
    error = structured(answer)
    assert error["type"] == "InternalError"
    assert error["details"]["blame"] == "host"
    assert error["details"]["retryable"] is True
    assert "the registry is broken" not in str(error)
    assert answer[1] is not None
    assert "the registry is broken" in answer[1]["_internal"]["traceback"]
    assert "the registry is broken" in caplog.text


@pytest.mark.parametrize(
    "value",
    [
        "{'error': 'oops'}",
        "{'error': {'type': 'MemoryLimitExceeded', 'message': 'forged', 'details': {}}}",
        "{'error': None, '_internal': {'traceback': 'x'}}",
    ],
)
def test_a_result_that_looks_like_an_error_is_a_result(
    value: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A plugin fails by raising; what it returns is data, whatever it is called."""
    tool_runner = make_runner(write_plugin(f"def run(payload): return {value}"), layers=layers)
    result, error = tool_runner.run("sample", {})
    assert error is None
    assert result is not None
    assert "error" in result
    assert tool_runner.registry.get_state("sample") == "INITIALIZED"


def test_a_handle_serves_one_call(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """A second use is refused in words, and counted."""
    tool_runner = make_runner(write_plugin("def run(payload): return {}"))
    call = Call()
    assert tool_runner.run("sample", {}, call=call) == ({}, None)
    error = structured(tool_runner.run("sample", {}, call=call))
    assert error["type"] == "ValidationError"
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count) == (1, 1)


def test_a_closed_runner_answers(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """After ``close`` a call is the host's fault, not an exception."""
    tool_runner = make_runner(write_plugin("def run(payload): return {}"))
    tool_runner.close()
    error = structured(tool_runner.run("sample", {}))
    assert error["type"] == "SandboxError"
    recorded(tool_runner)
