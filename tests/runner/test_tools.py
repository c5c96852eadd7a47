"""Plugins of several tools, called as PLUGIN:TOOL: which code answers, in which process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.sandbox.layers import Layers

TWO = "{ one = {}, two-b = {} }"
BY_FUNCTION = """
    def one(payload):
        return {"by": "one", "payload": payload}

    async def two_b(payload, context):
        return {"by": "two_b", "tool": context.tool}
"""
BY_RUN_TOOL = """
    class Plugin:
        def one(self, frame, threshold, colour):
            raise AssertionError

        def run_tool(self, tool, args):
            return {"by": "run_tool", "tool": tool, "args": args}
"""
BY_RUN = """
    def run(payload, context):
        return {"by": "run", "tool": context.tool}
"""
WITH_CONTEXT = """
    def run_tool(tool, args, *, context):
        return {"tool": tool, "id": context.call_id}
"""
MIXED = """
    def one(payload):
        return {"by": "one"}

    def run(payload, context):
        return {"by": "run", "tool": context.tool}
"""
COUNTER = """
    import os

    class Plugin:
        def __init__(self):
            self.frames = 0

        def run_tool(self, tool, args):
            self.frames += 1
            return {"tool": tool, "frames": self.frames, "loaded_by": os.getppid()}
"""


def answer(tool_runner: ToolRunner, name: str, payload: object = None) -> object:
    """Return the result of a call that has to succeed."""
    result, error = tool_runner.run(name, payload or {})  # type: ignore[arg-type]  # some tests are of what is none
    assert error is None, error
    return result


@pytest.mark.parametrize(
    ("body", "one", "two"),
    [
        (BY_FUNCTION, {"by": "one", "payload": {"a": 1}}, {"by": "two_b", "tool": "two-b"}),
        (
            BY_RUN_TOOL,
            {"by": "run_tool", "tool": "one", "args": {"a": 1}},
            {"by": "run_tool", "tool": "two-b", "args": {}},
        ),
        (BY_RUN, {"by": "run", "tool": "one"}, {"by": "run", "tool": "two-b"}),
        (MIXED, {"by": "one"}, {"by": "run", "tool": "two-b"}),
    ],
    ids=["functions", "run_tool", "run", "function and run"],
)
def test_each_tool_is_served_by_its_code(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    body: str,
    one: object,
    two: object,
) -> None:
    """``run_tool`` serves all; without it a function of the tool's name does, or ``run``."""
    tool_runner = make_runner(write_plugin(body, tools=TWO), layers=layers)
    assert answer(tool_runner, "sample:one", {"a": 1}) == one
    assert answer(tool_runner, "sample:two-b") == two


def test_run_tool_may_take_the_context(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """As its third parameter, or by name."""
    tool_runner = make_runner(write_plugin(WITH_CONTEXT, tools=TWO, start='"cold"'))
    call = Call()
    result, _ = tool_runner.run("sample:one", {}, call=call)
    assert result == {"tool": "one", "id": call.call_id}


def test_a_folders_entry_may_be_its_run_tool(tmp_path: Path, make_runner: MakeRunner) -> None:
    """Or any function that serves a tool: all of the module are meant."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "main.py").write_text("def run_tool(tool, args):\n    return {'tool': tool}\n")
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "f"\ninput = "json"\nentry = "main:run_tool"\n'
        "[tool.toolrunner.tools.a]\n"
    )
    assert answer(make_runner(folder), "f:a") == {"tool": "a"}


def test_a_tool_that_nothing_serves_is_an_error_of_loading(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """With what to write; also for the tools that are served, since one load is for all."""
    plugin = write_plugin("def one(payload):\n    return {}\n", tools=TWO)
    _, error = make_runner(plugin).run("sample:one", {})
    assert error is not None
    assert error["error"]["type"] == "PluginLoadError"
    assert "define two_b(payload), or run_tool(tool, payload)" in error["error"]["message"]


def test_tools_are_listed_counted_and_found_by_themselves(
    write_plugin: WritePlugin, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin's own name is none that can be called, and says which can."""
    tools = "{ one = {}, two-b = { error_key = 'error' } }"
    body = "def one(payload):\n    return {}\ndef two_b(payload):\n    return {'error': 'no'}\n"
    tool_runner = make_runner(write_plugin(body, tools=tools))
    registry = tool_runner.registry
    assert registry.tools_of("sample") == ["sample:one", "sample:two-b"]
    assert set(registry.list_available()) >= {"sample:one", "sample:two-b"}
    answer(tool_runner, "sample:one")
    tool_runner.run("sample:two-b", {})
    one, two = (registry.get_status(f"sample:{tool}") for tool in ("one", "two-b"))
    assert (one.state, one.success_count, one.error_count) == ("INITIALIZED", 1, 0)
    assert (two.state, two.success_count, two.error_count) == ("FAILED", 0, 1)
    assert two.reason == "ExecutionError: run returned an error"
    with caplog.at_level(logging.ERROR):
        _, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "PluginNotFound"
    assert error["error"]["message"].endswith("one of them: sample:one, sample:two-b")
    assert error["error"]["plugin"] == "sample"
    assert registry.get_status("sample") is None


def test_each_tool_has_its_own_input_and_limits(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """They are checked and kept for each by itself."""
    tools = (
        "{ short = { limits = { wall_seconds = 0.5 } }, "
        "text = { input_schema = { required = ['text'] } } }"
    )
    body = """
        import time

        def run(payload, context):
            if context.tool == "short":
                time.sleep(60)
            return {"seconds": context.seconds_left()}
    """
    tool_runner = make_runner(write_plugin(body, tools=tools), layers=layers)
    _, error = tool_runner.run("sample:short", {})
    assert error is not None
    assert error["error"]["type"] == "TimeLimitExceeded"
    assert error["error"]["plugin"] == "sample:short"
    assert answer(tool_runner, "sample:text", {"text": ""})["seconds"] > 20  # type: ignore[index]  # a result
    _, error = tool_runner.run("sample:text", {})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"


def test_tools_of_equal_limits_share_a_box(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """So what the plugin loads is loaded once; one with limits of its own has its own box."""
    tools = "{ a = {}, b = {}, c = { limits = { memory_mb = 300 } } }"
    body = """
        import os, uuid
        LOADED = str(uuid.uuid4())

        def run(payload):
            return {"loaded": LOADED}
    """
    tool_runner = make_runner(write_plugin(body, tools=tools))
    a, b, c = (answer(tool_runner, f"sample:{tool}") for tool in "abc")
    assert a == b != c
    assert [tool_runner.box_of(f"sample:{tool}") for tool in "abc"] == [
        "sample",
        "sample",
        "sample:c",
    ]
    # The operator's caps may make them equal.
    capped = make_runner(write_plugin(body, tools=tools), caps={"memory_mb": 200})
    assert answer(capped, "sample:a") == answer(capped, "sample:c")


def test_a_resident_keeps_its_state_from_tool_to_tool(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Frame after frame of a video, say; the operator allows the plugin, not each tool."""
    tools = "{ track = {}, count = {} }"
    plugin = write_plugin(COUNTER, tools=tools, start='"resident"')
    tool_runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    found = [answer(tool_runner, f"sample:{tool}") for tool in ("track", "count", "track")]
    assert [one["frames"] for one in found] == [1, 2, 3]  # type: ignore[index]  # results
    assert tool_runner.residents().keys() == {"sample"}


def test_a_plugin_that_is_registered_has_its_tools(write_plugin: WritePlugin) -> None:
    """Under the name that it is registered by."""
    registry = PluginRegistry()
    registry.register("other", instance=write_plugin(BY_RUN, tools=TWO))
    assert registry.list_plugins() == ["other:one", "other:two-b"]
    with ToolRunner(registry) as tool_runner:
        assert answer(tool_runner, "other:one") == {"by": "run", "tool": "one"}
    again = PluginRegistry()
    again.register("other:one", instance=registry.plugin("other:one"))
    assert again.list_plugins() == ["other:one"]


def test_a_tool_logs_below_its_plugin(
    write_plugin: WritePlugin, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """So that the plugin's logger is that of all of them."""
    body = """
        import logging

        def run(payload):
            logging.getLogger("x").debug("seen")
            return {}
    """
    with caplog.at_level(logging.DEBUG, "toolrunner.plugin.sample"):
        answer(make_runner(write_plugin(body, tools=TWO)), "sample:one")
    assert [one.name for one in caplog.records if "seen" in one.message] == [
        "toolrunner.plugin.sample.one"
    ]


def test_a_program_has_tools_too(
    open_folder: Path, make_runner: MakeRunner, layers: Layers
) -> None:
    """It is told which; one that takes an image has it by path, beside one that takes JSON."""
    folder = open_folder / "shell"
    folder.mkdir()
    program = folder / "main.sh"
    program.write_text('#!/bin/sh\nprintf \'{"tool": "%s"}\' "$TOOLRUNNER_TOOL"\n')
    program.chmod(0o755)
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "shell"\ninput = "json"\ncommand = ["./main.sh"]\n'
        "[tool.toolrunner.tools.a]\n[tool.toolrunner.tools.b]\n"
        '[tool.toolrunner.tools.c]\ninput = "image"\n'
    )
    tool_runner = make_runner(folder, layers=layers)
    picture = {"image": b"123", "mime_type": "image/png"}
    for tool, payload in (("a", {}), ("b", {}), ("c", picture), ("a", {})):
        assert answer(tool_runner, f"shell:{tool}", payload) == {"tool": tool}
    assert {tool_runner.box_of(f"shell:{tool}") for tool in "abc"} == {"shell"}
