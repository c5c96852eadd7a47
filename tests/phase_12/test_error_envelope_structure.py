"""The envelope of a failed call: every key, its type, its bounds, whatever a plugin puts in it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import ErrorType
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.layers import Layers

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RAISES = """
    import sys

    def run(payload):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        raise ValueError("no such colour")
"""


def failure(write_plugin: WritePlugin, make_runner: MakeRunner, body: str) -> Envelope:
    """Return the envelope of a plugin that fails."""
    result, envelope = make_runner(write_plugin(body)).run("sample", {})
    assert result is None
    assert envelope is not None
    return envelope


def test_an_envelope_has_exactly_its_keys(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Type, message, details, plugin and timestamp for everybody; the traceback for us."""
    call = Call()
    tool_runner = make_runner(write_plugin(RAISES), layers=layers)
    _result, envelope = tool_runner.run("sample", {}, call=call)
    assert envelope is not None
    assert envelope.keys() == {"error", "_internal"}
    assert envelope["_internal"].keys() == {"traceback"}
    error = envelope["error"]
    assert error.keys() == {"type", "message", "details", "plugin", "timestamp"}
    assert error["type"] == "ExecutionError"
    assert error["message"] == "ValueError: no such colour"
    assert error["plugin"] == "sample"
    assert TIMESTAMP.fullmatch(error["timestamp"])
    details = error["details"]
    assert details["blame"] == "plugin"
    assert details["retryable"] is False
    assert details["call_id"] == call.call_id
    assert details["exception"] == "ValueError"
    assert details["log_tail"] == "to stdout\nto stderr\n"
    assert details["usage"].keys() == set(Usage.__dataclass_fields__)
    assert details["usage"]["wall_ms"] >= 0
    assert details["usage"]["peak_memory_bytes"] > 0
    assert details["isolation"] == {
        "mode": "warm",
        "layers": list(layers.names()),
        "missing": list(layers.missing()),
    }
    json.dumps(envelope, allow_nan=False)


def test_a_traceback_is_the_plugins_own(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """It begins at the plugin's first frame, shows its source, and names its file."""
    trace = failure(write_plugin, make_runner, RAISES)["_internal"]["traceback"]
    assert "sample.py" in trace
    assert 'raise ValueError("no such colour")' in trace
    assert "worker.py" not in trace
    assert trace.endswith("ValueError: no such colour\n")


def test_a_traceback_is_a_string_even_without_one(make_runner: MakeRunner) -> None:
    """Readers need not ask whether it is there."""
    _result, envelope = make_runner().run("nobody", {})
    assert envelope is not None
    assert envelope["_internal"]["traceback"] == ""


@pytest.mark.parametrize(
    ("name", "shown"), [("nobody", "nobody"), ("", None), (None, None), (7, None), (b"x", None)]
)
def test_plugin_is_null_when_the_request_named_none(
    name: Any, shown: str | None, make_runner: MakeRunner
) -> None:
    """A name that is none is not made up."""
    _result, envelope = make_runner().run(name, {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginNotFound"
    assert envelope["error"]["plugin"] == shown


def test_usage_is_zero_when_nothing_ran(make_runner: MakeRunner) -> None:
    """The keys are there all the same."""
    _result, envelope = make_runner().run("nobody", {})
    assert envelope is not None
    details = envelope["error"]["details"]
    assert details["usage"] == dict.fromkeys(Usage.__dataclass_fields__, 0)
    assert details["isolation"] == {"mode": "cold", "layers": [], "missing": []}


@pytest.mark.parametrize(
    "text",
    [
        "'x' * 10 ** 6",
        "'\\N{PILE OF POO}' * 10 ** 5",
        "'\\ud800' * 5000",
        "'\\x1b[2J\\x00\\x07\\u202e' * 2000",
        "'\\n'.join(map(str, range(10 ** 5)))",
    ],
)
def test_what_a_plugin_says_is_bounded_and_harmless(
    text: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """4 KiB of message, 64 KiB of traceback, and nothing that a terminal would act on."""
    plugin = write_plugin(
        f"def run(payload):\n    print({text!s:.40})\n    raise ValueError({text})"
    )
    _result, envelope = make_runner(plugin, layers=layers).run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "ExecutionError"
    message, trace = envelope["error"]["message"], envelope["_internal"]["traceback"]
    assert len(message.encode()) <= 4096
    assert len(trace.encode()) <= 65536
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", message + trace)
    json.dumps(envelope, allow_nan=False).encode()


def test_a_deep_traceback_keeps_its_end(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """The end of a traceback says what happened."""
    body = """
        def run(payload, n=0):
            exec("x = 1  # " + "a line that is long " * 50)
            try:
                if n < 200:
                    run(payload, n + 1)
                else:
                    raise ValueError("bottom")
            except ValueError as error:
                raise ValueError(f"level {n} " + "y" * 2000) from error
    """
    trace = failure(write_plugin, make_runner, body)["_internal"]["traceback"]
    assert len(trace.encode()) <= 65536
    assert "level 0" in trace[-3000:]


def test_an_exceptions_name_is_text_like_any_other(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A class may be called anything at all."""
    body = r"""
        def run(payload):
            raise type("Evil\x1b[2J" + "N" * 10_000, (Exception,), {})("why")
    """
    error = failure(write_plugin, make_runner, body)["error"]
    assert error["type"] == "ExecutionError"
    assert error["details"]["exception"].startswith(r"Evil\x1b[2J")
    assert len(error["details"]["exception"]) <= 256


def test_every_type_says_whom_it_blames() -> None:
    """Only the host's faults are worth a second try as they are."""
    for error_type in ErrorType:
        assert error_type.blame in {"caller", "host", "plugin"}
    assert {t.value for t in ErrorType if t.blame == "host"} == {
        "SandboxError",
        "Overloaded",
        "InternalError",
    }
