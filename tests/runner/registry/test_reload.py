"""Plugins read anew while calls run: what is new, what has changed, what is gone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry
from toolrunner.plugins.discovery import DiscoveryError


def test_a_changed_plugin_runs_as_it_is_now(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """With its new manifest, and with the counts that it had."""
    tool_runner = make_runner(write_plugin("def run(payload): return {'version': 1}"))
    assert tool_runner.run("sample", {}) == ({"version": 1}, None)
    write_plugin("def run(payload): return {'version': 2}", limits="{ wall_seconds = 9 }")
    tool_runner.reload()
    assert tool_runner.run("sample", {}) == ({"version": 2}, None)
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert status.success_count == 2


def test_a_plugin_that_did_not_change_keeps_everything(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its state, its reason, its counts."""
    tool_runner = make_runner(write_plugin("def run(payload): raise ValueError"))
    tool_runner.run("sample", {})
    before = tool_runner.registry.get_status("sample")
    tool_runner.reload()
    after = tool_runner.registry.get_status("sample")
    assert before is not None
    assert after is not None
    assert (after.state, after.reason, after.error_count, after.last_used) == (
        "FAILED",
        before.reason,
        1,
        before.last_used,
    )


def test_new_plugins_are_found_and_lost_ones_are_gone(tmp_path: Path) -> None:
    """In a folder of plugins, whatever was registered by hand beside it."""
    folder = tmp_path / "plugins"
    folder.mkdir()

    def write(name: str) -> None:
        lines = [
            "# /// script",
            '# requires-python = ">=3.11"',
            "# dependencies = []",
            "# [tool.toolrunner]",
            f'# name = "{name}"',
            '# version = "1.0.0"',
            '# description = "made for a test"',
            '# input = "json"',
            "# ///",
            "def run(payload): return {}",
        ]
        (folder / f"{name}.py").write_text("\n".join(lines))

    write("one")
    registry = PluginRegistry.discover(folder)
    registry.register("by-hand")
    bundled = set(registry.list_plugins()) - {"one", "by-hand"}
    (folder / "one.py").unlink()
    write("two")
    registry.reload()
    assert set(registry.list_plugins()) == bundled | {"two", "by-hand"}


def test_a_reload_that_fails_changes_nothing(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A folder that is gone is an error for whoever reloads, and for no call."""
    path = write_plugin("def run(payload): return {}")
    tool_runner = make_runner(path)
    tool_runner.run("sample", {})
    path.rename(path.with_suffix(".away"))
    with pytest.raises(DiscoveryError):
        tool_runner.reload()
    assert tool_runner.registry.get_state("sample") == "INITIALIZED"


def test_a_call_in_flight_ends_as_it_began(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A reload neither ends it nor loses its count."""
    body = """
        def run(payload, context):
            context.progress(0.5)
            return {"version": 1}
    """
    tool_runner = make_runner(write_plugin(body))
    running, reloaded = threading.Event(), threading.Event()
    answers: list[object] = []

    def hold_up(_fraction: float, _message: str) -> None:
        running.set()
        reloaded.wait(30)

    call = Call(on_progress=hold_up)
    thread = threading.Thread(
        target=lambda: answers.append(tool_runner.run("sample", {}, call=call))
    )
    thread.start()
    assert running.wait(120)
    write_plugin("def run(payload): return {'version': 2}")
    tool_runner.reload()
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.state, status.in_flight) == ("RUNNING", 1)
    reloaded.set()
    thread.join()
    assert answers == [({"version": 1}, None)]
    assert tool_runner.run("sample", {}) == ({"version": 2}, None)
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.in_flight) == (2, 0)
