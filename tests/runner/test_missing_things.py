"""What a call needs and does not find: layers, its plugin's file, an interpreter."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.error_cases import GOOD
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.sandbox import Sandbox


def test_a_missing_namespace_is_a_missing_layer(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """What a plugin requires is looked for in what confines this very call."""
    tool_runner = make_runner(
        write_plugin(GOOD, require='["namespaces.pid", "seccomp"]'),
        layers=host_layers.without("namespaces"),
    )
    _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "SandboxError"
    assert "requires namespaces.pid," in envelope["error"]["message"]
    assert "namespaces.pid" in envelope["error"]["details"]["isolation"]["missing"]


def test_less_than_the_floor_runs_on_the_operators_word(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    host_layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``degraded`` is loud in the log and visible in the isolation."""
    call = Call()
    below = host_layers.without("seccomp")
    tool_runner = make_runner(write_plugin(GOOD), layers=below, degraded=True)
    with caplog.at_level(logging.WARNING, "toolrunner.sandbox"):
        assert tool_runner.run("sample", {}, call=call) == ({}, None)
    assert "degraded" in caplog.text
    assert "seccomp" in call.isolation.missing


def test_the_log_has_the_version_of_a_plugin_that_cannot_be_used(
    write_plugin: WritePlugin, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands in the manifest, whatever else is not there."""
    tool_runner = make_runner(write_plugin(GOOD, requires_python='">=99"'))
    with caplog.at_level(logging.INFO, "toolrunner.calls"):
        _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginUnavailable"
    assert " of sample 1.0.0 failed: PluginUnavailable" in caplog.text


def test_a_plugin_file_that_is_gone_is_unavailable(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What was there at discovery may not be there at the call."""
    path: Path = write_plugin(GOOD)
    tool_runner = make_runner(path)
    path.unlink()
    _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginUnavailable"
    assert "sample.py" in envelope["error"]["message"]


def test_an_interpreter_that_is_not_there_is_the_hosts_fault(write_plugin: WritePlugin) -> None:
    """A box that cannot be started is no fault of the plugin."""
    registry = PluginRegistry.discover([write_plugin(GOOD)])
    sandbox = Sandbox(python="/nonexistent/python")
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "SandboxError"
    assert envelope["error"]["details"]["retryable"] is True
    assert registry.get_state("sample") == "LOADED"
