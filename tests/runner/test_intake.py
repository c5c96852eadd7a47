"""What a runner takes in of plugins: values, reports and log records, each within bounds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.limit_rows import run
from toolrunner import Call
from toolrunner.runner.payloads.strict_json import MAX_VALUES
from toolrunner.runner.settings.caps import DEFAULT_CAPS, default_caps
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.capture import parse_line
from toolrunner.sandbox.channel import parse_progress, parse_raised
from toolrunner.sandbox.frames import FrameError
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import LIMIT_NAMES, Limits

PATIENT = "{ wall_seconds = 300, cpu_seconds = 300, memory_mb = 2000 }"


def test_a_reply_of_too_many_values_is_not_parsed(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A few megabytes of brackets would be hundreds of them as lists."""
    plugin = write_plugin("def run(payload): return {'x': [[]] * 1_500_000}", limits=PATIENT)
    result, envelope = run(make_runner(plugin, layers=layers))
    assert result is None
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == "OutputLimitExceeded"
    assert error["message"] == (
        "the reply holds more than 1,000,000 values; return large tables as text"
    )
    limit = error["details"]["limit"]
    assert (limit["name"], limit["configured"]) == ("output_values", MAX_VALUES)
    assert (limit["observed"] or 0) > MAX_VALUES
    assert error["details"]["usage"]["output_bytes"] > 4_000_000


def test_a_reply_that_is_one_long_text_is_taken(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whatever it holds: commas and brackets in a string are no values."""
    plugin = write_plugin("def run(payload): return {'x': ',[{' * 5_000_000}", limits=PATIENT)
    result, envelope = run(make_runner(plugin))
    assert envelope is None
    assert result == {"x": ",[{" * 5_000_000}


@pytest.mark.parametrize("read", [parse_raised, parse_progress])
def test_a_report_is_a_small_object(read: Any) -> None:
    """Not thousands of values in a frame that is small enough; strings may hold anything."""
    fields = b'"exception": "E", "message": ",[{\\",[", "traceback": "", "fraction": 0.5'
    read(b"{" + fields + b"}")
    with pytest.raises(FrameError, match="more than 64 JSON values"):
        read(b"{" + fields + b', "x": [' + b"[]," * 100 + b"0]}")


def test_a_log_line_is_a_small_object() -> None:
    """One that is not is dropped."""
    line = b'{"level": 20, "logger": "a", "message": "b"'
    assert parse_line(line + b"}") == (20, "a", "b")
    assert parse_line(line + b', "x": [' + b"[]," * 100 + b"0]}") is None


def test_log_records_reach_the_log_as_one_harmless_line(
    write_plugin: WritePlugin, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in them moves a cursor, begins a record of its own, or turns text around."""
    body = """
    import logging
    TEXT = "a\\nERROR forged\\r\\t\\x1b[2J\\x9b\\u2028\\u2029\\u202e\\u061c\\x85z"
    def run(payload):
        logging.getLogger("own\\nname").warning(TEXT)
        return {}
    """
    call = Call()
    with caplog.at_level(logging.INFO):
        assert run(make_runner(write_plugin(body)), call=call) == ({}, None)
    [record] = [r for r in caplog.records if r.name == "toolrunner.plugin.sample"]
    assert record.getMessage() == (
        f"{call.call_id}: a\\nERROR forged\\r\\t\\x1b[2J\\x9b\\u2028\\u2029\\u202e\\u061c\\x85z"
    )
    assert record.__dict__["plugin_logger"] == "own\\nname"


def test_every_limit_has_a_cap(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """A manifest that asks for a million of each gets the caps; the defaults are below them."""
    caps = default_caps()
    assert sorted(caps) == sorted(LIMIT_NAMES)
    assert Limits().capped(caps) == Limits()
    asked = ", ".join(f"{name} = 1_000_000" for name in LIMIT_NAMES)
    tool_runner = make_runner(write_plugin("def run(payload): return {}", limits=f"{{ {asked} }}"))
    manifest = tool_runner.registry.plugin("sample").manifest
    assert manifest.limits.capped(Settings().caps) == Limits(**caps)  # type: ignore[arg-type]  # mixed numbers


def test_a_cap_of_the_operators_may_be_higher() -> None:
    """It replaces the default one, and leaves the others."""
    settings = Settings(caps={"wall_seconds": 100_000})
    assert settings.caps == default_caps() | {"wall_seconds": 100_000}
    assert settings.caps["load_seconds"] == DEFAULT_CAPS["load_seconds"]


def test_a_traceback_quotes_nothing_that_the_plugin_may_not_read(
    open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Whatever file it says that its code is from."""
    secret = open_folder / "secret"
    secret.write_text("root:secret\n" * 3)
    body = f"""
    def run(payload):
        code = compile("\\nraise ValueError('mine')", {str(secret)!r}, "exec")
        exec(code, {{"__name__": "x"}})
    """
    _result, envelope = run(make_runner(write_plugin(body), layers=layers))
    assert envelope is not None
    traceback = envelope["_internal"]["traceback"]
    assert str(secret) in traceback
    assert "exec(code" in traceback
    assert "root:secret" not in str(envelope)
