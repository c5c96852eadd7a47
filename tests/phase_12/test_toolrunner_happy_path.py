"""A good plugin and a good payload: what the caller gets, and what is recorded of the call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.layers import Layers

PNG = b"\x89PNG\r\n\x1a\n not really"
LOOKS = """
    def run(payload):
        image = payload["image"]
        return {"kind": type(image).__name__, "size": len(image), "mime": payload["mime_type"]}
"""


def test_a_result_comes_without_an_error(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The plugin's dict is the result, and there is no error beside it."""
    tool_runner = make_runner(
        write_plugin("def run(payload): return {'twice': 2 * payload['n']}"), layers=layers
    )
    assert tool_runner.run("sample", {"n": 21}) == ({"twice": 42}, None)


def test_an_empty_dict_is_a_result(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """A plugin that found nothing has not failed."""
    tool_runner = make_runner(write_plugin("def run(payload): return {}"))
    assert tool_runner.run("sample", {}) == ({}, None)


@pytest.mark.parametrize("image", [PNG, "iVBORw0KGgogbm90IHJlYWxseQ=="], ids=["bytes", "base64"])
def test_a_plugin_receives_the_image_as_bytes(
    image: bytes | str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """However the caller wrote the image, the plugin reads bytes."""
    plugin = write_plugin(LOOKS, input="image", accepts='["image/png"]')
    tool_runner = make_runner(plugin, layers=layers)
    result, error = tool_runner.run("sample", {"image": image, "mime_type": "image/png"})
    assert error is None
    assert result is not None
    assert (result["kind"], result["mime"]) == ("bytes", "image/png")
    assert result["size"] > 0


def test_options_reach_the_plugin(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """What a request asks for beside the image arrives under its own key."""
    plugin = write_plugin(
        "def run(payload): return payload['options']", input="image", accepts='["image/png"]'
    )
    payload = {"image": PNG, "mime_type": "image/png", "options": {"colours": 3}}
    assert make_runner(plugin).run("sample", payload) == ({"colours": 3}, None)


def test_a_class_plugin_is_constructed_and_run(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A class ``Plugin`` is made once, at load, before its ``run``."""
    plugin = write_plugin(
        """
        class Plugin:
            def __init__(self):
                self.made = "made"

            def run(self, payload):
                return {"was": self.made}
        """
    )
    assert make_runner(plugin, layers=layers).run("sample", {}) == ({"was": "made"}, None)


def test_a_context_tells_of_the_call_and_carries_progress(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The optional second parameter knows the call's id, folder and time, and reports back."""
    heard: list[tuple[float, str]] = []
    call = Call(on_progress=lambda fraction, message: heard.append((fraction, message)))
    plugin = write_plugin(
        """
        import os

        def run(payload, context):
            context.progress(0.5, "half way")
            return {
                "id": context.call_id,
                "scratch": str(context.scratch) == os.getcwd(),
                "files": os.listdir(context.scratch),
                "in time": 0 < context.seconds_left() <= 50,
            }
        """,
        limits="{ wall_seconds = 50 }",
    )
    result, error = make_runner(plugin, layers=layers).run("sample", {}, call=call)
    assert error is None
    assert result == {"id": call.call_id, "scratch": True, "files": [], "in time": True}
    assert heard == [(0.5, "half way")]


def test_a_plugin_runs_in_a_process_that_is_not_the_callers(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Nothing of a plugin is ever imported by the process that calls it."""
    plugin = write_plugin(
        """
        import os, sys
        sys.modules["planted"] = sys

        def run(payload):
            return {"same": os.path.exists("/proc/self") and os.getpid() == payload["pid"]}
        """
    )
    before = set(sys.modules)
    assert make_runner(plugin).run("sample", {"pid": os.getpid()}) == ({"same": False}, None)
    assert not {n for n in set(sys.modules) - before if "sample" in n or "planted" in n}


def test_a_success_is_recorded(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """Counts, times and state are there when the answer is."""
    tool_runner = make_runner(write_plugin("def run(payload): return {}"))
    assert tool_runner.registry.get_state("sample") == "LOADED"
    for number in range(1, 4):
        tool_runner.run("sample", {})
        status = tool_runner.registry.get_status("sample")
        assert status is not None
        assert (status.success_count, status.error_count, status.in_flight) == (number, 0, 0)
        assert status.state == "INITIALIZED"
        assert status.last_used is not None
        assert status.last_execution_time_ms is not None
        assert status.avg_execution_time_ms is not None


def test_the_handle_tells_what_the_call_used(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Usage, isolation and what was printed are on the ``Call`` afterwards."""
    call = Call()
    tool_runner = make_runner(
        write_plugin("def run(payload): print('hello'); return {'a': 1}"), layers=layers
    )
    assert tool_runner.run("sample", {}, call=call) == ({"a": 1}, None)
    assert call.usage != Usage()
    assert call.usage.output_bytes == len('{"a": 1}')
    assert call.usage.peak_memory_bytes > 0
    assert call.usage.processes >= 1
    assert call.isolation.layers == layers.names()
    assert call.isolation.missing == layers.missing()
    assert call.log_tail == "hello\n"


def test_the_documented_example_works(write_plugin: WritePlugin) -> None:
    """Discovering paths and using the runner as a context manager is all that it takes."""
    path: Path = write_plugin("def run(payload): return {'seen': True}")
    registry = PluginRegistry.discover(paths=[path])
    with ToolRunner(registry) as tool_runner:
        assert tool_runner.run("sample", {}) == ({"seen": True}, None)
    with ToolRunner() as default:
        assert "barcode" in default.registry.list_plugins()
