"""The path of a call: each service delegates to the one below it, and none goes around another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.services import (
    AnalysisService,
    JobManagementService,
    PluginManagementService,
)
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.tool_runner import MaybeResult

Answer = tuple[MaybeResult, Envelope | None]


class Noted(PluginManagementService):
    """The real service, which notes what it was asked for."""

    asked: list[tuple[str, Mapping[str, Any], Call | None]]

    def execute_plugin(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> Answer:
        """Note the request and execute it."""
        self.asked.append((plugin_name, payload, call))
        return super().execute_plugin(plugin_name, payload, call=call)


@pytest.fixture
def plugins(write_plugin: WritePlugin, make_runner: MakeRunner) -> Noted:
    """The service over one plugin, which fails when it is told to."""
    body = """
        def run(payload):
            if payload.get("fail"):
                raise ValueError("as told")
            return {"pid_is_another": True}
    """
    service = Noted(make_runner(write_plugin(body)))
    service.asked = []
    return service


def test_a_job_is_run_by_plugin_management(plugins: Noted) -> None:
    """With the same name, payload and handle; and the answer is passed on as it is."""
    call, payload = Call(), {"n": 1}
    answer = JobManagementService(plugins).run_job("sample", payload, call=call)
    assert answer == ({"pid_is_another": True}, None)
    assert plugins.asked == [("sample", payload, call)]
    assert call.used


def test_an_analysis_is_run_by_job_management(plugins: Noted) -> None:
    """All the way down, once."""
    answer = AnalysisService(JobManagementService(plugins)).analyze("sample", {})
    assert answer == ({"pid_is_another": True}, None)
    assert len(plugins.asked) == 1
    status = plugins.get_plugin("sample")
    assert status is not None
    assert (status.success_count, status.error_count) == (1, 0)


def test_an_error_passes_through_all_services_as_it_is(plugins: Noted) -> None:
    """The envelope that ToolRunner made, unchanged."""
    call = Call()
    result, envelope = AnalysisService(JobManagementService(plugins)).analyze(
        "sample", {"fail": True}, call=call
    )
    assert result is None
    assert envelope is not None
    assert envelope["error"]["type"] == "ExecutionError"
    assert envelope["error"]["details"]["call_id"] == call.call_id
    assert "as told" in envelope["_internal"]["traceback"]


def test_who_observes_hears_of_each_call_once(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """With its outcome, and without a name that only the caller made up."""
    heard: list[Executed] = []
    runner_ = make_runner(write_plugin("def run(payload): return {}"))
    service = PluginManagementService(runner_, observer=heard.append)
    service.execute_plugin("sample", {})
    service.execute_plugin("sample", [])  # type: ignore[arg-type]  # what a careless caller does
    service.execute_plugin("nobody's", {})
    assert [(one.plugin, one.outcome) for one in heard] == [
        ("sample", "success"),
        ("sample", "ValidationError"),
        ("", "PluginNotFound"),
    ]
