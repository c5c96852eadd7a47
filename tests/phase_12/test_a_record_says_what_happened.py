"""What is recorded of a call is what happened in it, and is there when the answer is."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.services import (
    AnalysisService,
    JobManagementService,
    PluginManagementService,
)
from toolrunner.runner.settings.settings import Settings

OBEDIENT = """
    import logging

    class InvalidInput(Exception):
        pass

    def run(payload):
        logging.getLogger().warning("running")
        if payload.get("fail") == "caller":
            raise InvalidInput("not that one")
        if payload.get("fail") == "plugin":
            raise ValueError("a bug")
        return payload.get("answer", {})
"""
AWKWARD = {
    "result": {"a": 1},
    "_private": 1,
    "error": None,
    "cached": None,
    "status": "failed",
    "path": "/srv/photos/one.png",
}


class Interrupted(RecordingRegistry):
    """A registry in which a Ctrl-C arrives as soon as a call has begun."""

    def plugin(self, name: str) -> Plugin:
        """Be interrupted."""
        raise KeyboardInterrupt(name)


@pytest.fixture
def registry(write_plugin: WritePlugin) -> RecordingRegistry:
    """The registry of one plugin, which does as it is told."""
    return RecordingRegistry.discover([write_plugin(OBEDIENT)])


def counts(registry: PluginRegistry) -> tuple[int, int, int]:
    """Return successes, errors and calls in flight."""
    status = registry.get_status("sample")
    assert status is not None
    return status.success_count, status.error_count, status.in_flight


def test_each_kind_of_end_is_recorded_as_what_it_was(registry: RecordingRegistry) -> None:
    """State, error and counts, one call after another: only the plugin's own fault is FAILED."""
    steps: list[tuple[dict[str, Any] | None, str | None, str]] = [
        (None, "ValidationError", "LOADED"),
        ({}, None, "INITIALIZED"),
        ({"fail": "caller"}, "ValidationError", "INITIALIZED"),
        (None, "ValidationError", "INITIALIZED"),
        ({"fail": "plugin"}, "ExecutionError", "FAILED"),
        ({"fail": "caller"}, "ValidationError", "FAILED"),
        ({"answer": AWKWARD}, None, "INITIALIZED"),
        ({"answer": None}, "OutputValidationError", "FAILED"),
        ({"answer": {}}, None, "INITIALIZED"),
    ]
    successes = errors = 0
    with ToolRunner(registry) as tool_runner:
        for number, (payload, kind, state) in enumerate(steps, 1):
            result, envelope = tool_runner.run("sample", payload)  # type: ignore[arg-type]
            had_error = kind is not None
            successes, errors = successes + (not had_error), errors + had_error
            assert len(registry.ended) == len(registry.begun) == number
            assert registry.ended[-1] == ("sample", state, had_error)
            assert counts(registry) == (successes, errors, 0)
            assert registry.get_state("sample") == state
            assert (envelope and envelope["error"]["type"]) == kind
            assert result == (None if kind else (payload or {}).get("answer", {}))
    tool_runner.run("sample", {})  # closed: the host's fault
    assert registry.ended[-1] == ("sample", "INITIALIZED", True)
    assert registry.threads == {threading.get_ident()}


def test_a_plugin_that_may_not_run_is_not_run(
    registry: RecordingRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """What a person marked is refused, recorded, and stays so."""
    registry.mark_unavailable("sample", "switched off")
    with ToolRunner(registry) as tool_runner, caplog.at_level(logging.WARNING):
        _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginUnavailable"
    assert "switched off" in envelope["error"]["message"]
    assert [(name, failed) for name, _state, failed in registry.ended] == [("sample", True)]
    assert registry.get_state("sample") == "UNAVAILABLE"
    assert "running" not in caplog.text


@pytest.mark.parametrize("by", ["operator", "breaker"])
def test_a_suspended_plugin_is_refused_and_that_is_recorded(
    by: str, write_plugin: WritePlugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has suspended it, and whether there is a breaker or none: an error like others."""
    settings = Settings(state=tmp_path / "state")  # where suspensions are kept
    registry = RecordingRegistry.discover([write_plugin(OBEDIENT)], settings=settings)
    with ToolRunner(registry, settings=settings) as tool_runner:
        if by == "operator":
            registry.suspend("sample")
        else:
            registry.suspend_after(1, 3600)
            tool_runner.run("sample", {"fail": "plugin"})
        before, state = len(registry.ended), registry.get_state("sample")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginUnavailable"
    assert dict(envelope["error"]["details"])["suspended_by"] == by
    assert registry.ended[before:] == [("sample", state, True)]
    assert counts(registry) == (0, before + 1, 0)
    assert not [one for one in caplog.records if one.getMessage().endswith("running")]


def test_a_call_is_made_once(registry: RecordingRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is tried again, whether it succeeds or fails."""
    with ToolRunner(registry) as tool_runner, caplog.at_level(logging.WARNING):
        services = AnalysisService(JobManagementService(PluginManagementService(tool_runner)))
        for payload in ({}, {"fail": "plugin"}, {"fail": "caller"}):
            caplog.clear()
            services.analyze("sample", payload)
            said = [one for one in caplog.records if one.name.startswith("toolrunner.plugin.")]
            assert [one.getMessage().endswith("running") for one in said] == [True]
    assert len(registry.ended) == 3


def test_the_time_is_of_the_whole_call_in_milliseconds(write_plugin: WritePlugin) -> None:
    """Loading included: no less than was slept, no more than who asked has waited."""
    body = "import time\ntime.sleep(0.3)\n\ndef run(payload):\n    time.sleep(0.1)\n    return {}\n"
    registry = RecordingRegistry.discover([write_plugin(body, start='"cold"')])
    with ToolRunner(registry) as tool_runner:
        before = time.monotonic()
        assert tool_runner.run("sample", {}) == ({}, None)
        waited_ms = (time.monotonic() - before) * 1000
    assert 400 <= registry.times_ms[0] <= waited_ms + 1
    status = registry.get_status("sample")
    assert status is not None
    assert status.last_execution_time_ms == registry.times_ms[0]


@pytest.mark.parametrize("is_service", [False, True])
def test_an_interrupt_passes_and_is_recorded(
    write_plugin: WritePlugin, *, is_service: bool
) -> None:
    """The one exception that leaves, through all services: counted as an error, none in flight."""
    registry = Interrupted.discover([write_plugin(OBEDIENT)])
    with ToolRunner(registry) as tool_runner:
        service = AnalysisService(JobManagementService(PluginManagementService(tool_runner)))
        with pytest.raises(KeyboardInterrupt):
            (service.analyze if is_service else tool_runner.run)("sample", {})
    assert registry.ended == [("sample", "LOADED", True)]
    assert counts(registry) == (0, 1, 0)
