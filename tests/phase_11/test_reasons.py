"""Why a plugin is as it is: the reason in its status, its health and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli, cli, environment
from tests.api.http.conftest import MakeSite, Site, kept, make_site, site
from tests.conftest import MakeRunner, WritePlugin
from toolrunner import PluginRegistry
from toolrunner.runner.registry.plugin_state import PluginStatus

__all__ = ["cli", "environment", "kept", "make_site", "site"]
# A load that fails, and words that only it has.
UNLOADABLE = 'raise OSError("the model is not there")\ndef run(payload): return {}\n'


class Runnable:
    """A class at the top level of a source file, as ``register`` takes it."""

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer with what was asked."""
        return payload


class NeedsMore:
    """A class that nobody can construct in a box."""

    def __init__(self, model: str) -> None:
        self.model = model

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer with what was asked."""
        return payload


def status_of(registry: PluginRegistry, name: str = "sample") -> PluginStatus:
    """Return the status of a plugin that is known."""
    status = registry.get_status(name)
    assert status is not None
    return status


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        (object(), "an object of class object is not a plugin"),
        (42, "an object of class int is not a plugin"),
        (lambda payload: payload, "<lambda> is not at the top level"),
        (dict, "the class dict has no method run"),
        (NeedsMore, "needs arguments"),
        (len, "is not a plugin"),
    ],
)
def test_an_object_that_cannot_run_is_unavailable(instance: object, words: str) -> None:
    """At once, with the reason; it is kept all the same."""
    registry = PluginRegistry()
    registry.register("sample", "Kept", "1", instance=instance)
    status = status_of(registry)
    assert (status.state, status.description) == ("UNAVAILABLE", "Kept")
    assert status.reason.startswith("ManifestError: ")
    assert words in status.reason
    assert registry.get("sample") is instance
    assert registry.list_available() == []


@pytest.mark.parametrize("instance", [None, Runnable, Runnable(), __file__])
def test_what_may_run_is_loaded(instance: object, tmp_path: Path) -> None:
    """And a name alone, to which the object comes later."""
    if instance == __file__:
        instance = tmp_path / "own.py"
        instance.write_text('# /// script\n# [tool.toolrunner]\n# name = "own"\n# ///\n')
    registry = PluginRegistry()
    registry.register("sample", instance=instance)
    assert (status_of(registry).state, status_of(registry).reason) == ("LOADED", "")


def test_a_name_with_nothing_behind_it_is_unavailable_once_called(make_runner: MakeRunner) -> None:
    """Until it is registered again with something."""
    tool_runner = make_runner()
    tool_runner.registry.register("sample")
    _, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "PluginUnavailable"
    status = status_of(tool_runner.registry)
    assert (status.state, status.in_flight, status.error_count) == ("UNAVAILABLE", 0, 1)
    assert "None is not a plugin" in status.reason


@pytest.mark.parametrize("how", ["run", "start", "warm_up"])
@pytest.mark.parametrize("start", ["auto", "cold"])
def test_a_load_that_fails_leaves_its_reason(
    how: str, start: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whoever asked for it: a call, or somebody who loads ahead of the calls."""
    tool_runner = make_runner(write_plugin(UNLOADABLE, start=f'"{start}"'))
    if how == "run":
        tool_runner.run("sample", {})
    elif how == "start":
        tool_runner.start("sample")
    else:
        tool_runner.warm_up("sample")
    status = status_of(tool_runner.registry)
    if start == "cold" and how != "run":  # nothing was loaded
        assert (status.state, status.reason) == ("LOADED", "")
        return
    assert status.state == "FAILED"
    assert status.reason.startswith("PluginLoadError: ")
    assert "the model is not there" in status.reason
    assert status.error_count == (1 if how == "run" else 0)


def test_a_success_clears_the_reason(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """The plugin was mended, and has been called since."""
    tool_runner = make_runner(write_plugin(UNLOADABLE))
    tool_runner.warm_up("sample")
    write_plugin("def run(payload): return {}")
    tool_runner.reload()
    assert tool_runner.run("sample", {}) == ({}, None)
    status = status_of(tool_runner.registry)
    assert (status.state, status.reason) == ("INITIALIZED", "")


@pytest.mark.parametrize(
    ("body", "limits", "reason"),
    [
        ("raise KeyError('of one caller')", "{}", "ExecutionError: run raised KeyError"),
        (
            "return {'of one caller': float('nan')}",
            "{}",
            "OutputValidationError: the result of run is not a strict JSON object",
        ),
        (
            "import os; os.kill(os.getpid(), 11)",
            "{}",
            "PluginCrashed: ",
        ),
        (
            "import time; time.sleep(60)",
            "{ wall_seconds = 0.3 }",
            "TimeLimitExceeded: ran longer than 0.3 s",
        ),
    ],
)
def test_a_call_that_fails_leaves_its_reason(
    body: str, limits: str, reason: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What the plugin made of one caller's payload is not for the others who ask."""
    tool_runner = make_runner(write_plugin(f"def run(payload): {body}", limits=limits))
    _, error = tool_runner.run("sample", {})
    assert error is not None
    status = status_of(tool_runner.registry)
    assert (status.state, status.reason[: len(reason)]) == ("FAILED", reason)
    assert "caller" not in status.reason


def test_what_callers_do_wrong_leaves_state_and_reason(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A failure is still the last news of the plugin after somebody's typing error."""
    tool_runner = make_runner(write_plugin("def run(payload): return 1 / payload['by']"))
    tool_runner.run("sample", {"by": 0})
    before = status_of(tool_runner.registry)
    _, error = tool_runner.run("sample", {"by": float("nan")})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"
    after = status_of(tool_runner.registry)
    assert (after.state, after.reason) == (before.state, before.reason)
    assert before.reason == "ExecutionError: run raised ZeroDivisionError"


def test_the_reason_of_a_call_outlasts_a_success_that_overlaps() -> None:
    """A call has failed, another one succeeds before that is counted."""
    registry = PluginRegistry()
    registry.register("sample")
    for _ in range(2):
        registry.mark_running("sample")
    registry.note_fault("sample", "PluginCrashed: SIGSEGV")
    registry.update_execution_metrics("sample", "INITIALIZED", 1, had_error=False)
    assert status_of(registry).reason == ""
    registry.update_execution_metrics("sample", "FAILED", 1, had_error=True)
    assert (status_of(registry).state, status_of(registry).reason) == (
        "FAILED",
        "PluginCrashed: SIGSEGV",
    )
    registry.update_execution_metrics("sample", "INITIALIZED", 1, had_error=False)
    registry.update_execution_metrics("sample", "FAILED", 1, had_error=True)
    assert status_of(registry).reason == ""


def test_a_fault_of_a_plugin_that_is_unknown_is_nobodys() -> None:
    """As with a plugin that a reload has taken away during its call."""
    registry = PluginRegistry()
    registry.note_fault("nobody", "PluginCrashed: SIGSEGV")
    assert registry.list_plugins() == []


def test_health_over_http_has_the_reason(site: Site) -> None:
    """For whoever may use the plugin, without the paths of this host, until a call succeeds."""
    site.post("/v1/analyze", {"plugin": "sample", "payload": {"fail": "bug"}})
    reason = "ExecutionError: run raised ValueError"
    status = site.get("/v1/plugins/sample").json()
    assert (status["state"], status["reason"]) == ("FAILED", reason)
    health = site.get("/v1/plugins/sample/health").json()
    assert health == {**status, "uptime_seconds": health["uptime_seconds"], "healthy": False}
    site.post("/v1/analyze", {"plugin": "sample", "payload": {}})
    assert site.get("/v1/plugins/sample/health").json()["reason"] == ""


def test_health_over_http_says_why_a_load_failed(
    make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """Also to those who did not make the call."""
    site = make_site(write_plugin(UNLOADABLE))
    site.post("/v1/analyze", {"plugin": "sample", "payload": {}})
    health = site.get("/v1/plugins/sample/health").json()
    assert (health["state"], health["healthy"]) == ("FAILED", False)
    assert "the model is not there" in health["reason"]


def test_the_command_line_shows_it(cli: Cli, write_plugin: WritePlugin) -> None:
    """`plugins show` loads the plugin, and says how that ended."""
    path = write_plugin(UNLOADABLE)
    [shown] = cli("--plugins", path, "plugins", "show", "sample", "--json").documents
    assert shown["state"] == "FAILED"
    assert "the model is not there" in shown["reason"]
    words = cli("--plugins", path, "plugins", "show", "sample").out
    assert words.count("the model is not there") == 1
