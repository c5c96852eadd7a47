"""``toolrunner mcp`` as an agent's host has it: the official client, over standard streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import anyio
import psutil
import pytest
from mcp import types
from mcp.shared.exceptions import MCPError

from tests.api.conftest import COMMAND, Cli
from tests.api.mcp.agents import (
    ERAS,
    INITIALIZE,
    OBEDIENT,
    Heard,
    Progress,
    busy_below,
    error_of,
    hear,
    over_stdio,
    raw,
    run,
    say,
    text_of,
)
from tests.conftest import WritePlugin
from tests.runner.waiting import spin
from toolrunner.api.mcp.messages import MOST_MESSAGE_MB


@pytest.mark.parametrize("mode", ERAS)
def test_a_call_is_followed_and_cancelled(
    environment: dict[str, str], write_plugin: WritePlugin, mode: str
) -> None:
    """Progress only goes up, and is one harmless line; a cancel kills the box."""
    plugin = write_plugin(OBEDIENT)
    options = ("--plugins", plugin, "mcp")

    async def main() -> None:
        async with over_stdio(environment, *options, mode=mode) as client:
            progress = Progress()
            given = {"progress": [0.5, 0.25, 1.0], "message": "in /etc/some/where \x1b[2J\n"}
            result = await client.call_tool("sample", given, progress_callback=progress)
            assert result.structured_content == {"got": None}
            fractions = [fraction for fraction, _, _ in progress.told]
            assert fractions == sorted(set(fractions))
            assert fractions[-1] == 1.0
            assert {(total, message) for _, total, message in progress.told} == {
                (1.0, "in where \\x1b[2J\\n")
            }
            with anyio.CancelScope() as scope:
                waiting = Progress()

                async def cancel_once_begun() -> None:
                    await waiting.begun.wait()
                    scope.cancel()

                async with anyio.create_task_group() as group:
                    group.start_soon(cancel_once_begun)
                    await client.call_tool("sample", {"wait": 1}, progress_callback=waiting)
            assert scope.cancelled_caught
            # The plugin's one place would be taken by a call that goes on.
            again = await client.call_tool("sample", {"n": 1})
            assert again.structured_content == {"got": 1}
            [server] = [one for one in psutil.Process().children() if "toolrunner" in one.cmdline()]
            await anyio.to_thread.run_sync(spin, lambda: not busy_below(server))

    run(main)


def test_what_goes_wrong_is_told_to_the_model(
    environment: dict[str, str], write_plugin: WritePlugin
) -> None:
    """A failed call is a result; an unknown tool, and a cursor that is none, are errors."""
    plugin = write_plugin(OBEDIENT)
    schema = "{ type = 'object', properties = { n = { type = 'integer' } }, required = ['n'] }"
    strict = write_plugin(OBEDIENT, name="strict", input_schema=schema)
    options = ("--plugins", plugin, "--plugins", strict, "mcp")

    async def main() -> None:
        async with over_stdio(environment, *options) as client:
            bad = await client.call_tool("sample", {"fail": "in /srv/place/file.py \x1b[31m"})
            document = error_of(bad, "ExecutionError")
            assert "/srv" not in text_of(bad)
            assert "\x1b" not in document["message"]
            refused = error_of(await client.call_tool("strict", {"n": "one"}), "ValidationError")
            assert "'one' is not of type 'integer'" in refused["message"]
            missing = await client.call_tool("palette", {"image": "AAAA"})
            assert error_of(missing, "ValidationError")["plugin"] == "palette"
            unknown = await client.call_tool("palette", {"path": "/etc/passwd"})
            assert "unknown argument 'path'" in error_of(unknown, "ValidationError")["message"]
            for wrong, words in (
                ("smple", "did you mean 'sample'"),
                ("x" * 500, "there is no tool"),
            ):
                with pytest.raises(MCPError, match=words) as raised:
                    await client.call_tool(wrong, {})
                assert raised.value.code == types.INVALID_PARAMS
            with pytest.raises(MCPError, match="cursor"):
                await client.list_tools(cursor="\x00")

    run(main)


def test_a_long_list_comes_in_pages(environment: dict[str, str], write_plugin: WritePlugin) -> None:
    """Each tool once; a plugin of several tools is each of them."""
    tools = ", ".join(f"tool_{number} = {{}}" for number in range(120))
    plugin = write_plugin("def run(payload):\n    return {}\n", tools=f"{{ {tools} }}")

    async def main() -> None:
        async with over_stdio(environment, "--plugins", plugin, "mcp") as client:
            first = await client.list_tools()
            assert len(first.tools) == 100
            second = await client.list_tools(cursor=first.next_cursor)
            assert second.next_cursor is None
            names = [tool.name for tool in (*first.tools, *second.tools)]
            assert len(set(names)) == len(names)
            assert {f"sample_tool_{number}" for number in range(120)} <= set(names)
            called = await client.call_tool("sample_tool_119", {})
            assert called.structured_content == {}

    run(main)


@pytest.mark.parametrize("mode", ERAS)
def test_a_reload_is_told(
    environment: dict[str, str], write_plugin: WritePlugin, mode: str
) -> None:
    """By SIGHUP plugins are read anew; who listens, or began with a handshake, hears of it."""
    plugin = write_plugin(OBEDIENT)
    heard = Heard()

    async def main() -> None:
        options = ("--plugins", plugin.parent, "mcp")
        async with over_stdio(environment, *options, mode=mode, heard=heard) as client:
            assert "another" not in {tool.name for tool in (await client.list_tools()).tools}
            [server] = [one for one in psutil.Process().children() if "toolrunner" in one.cmdline()]
            write_plugin(OBEDIENT, name="another")
            if mode == "legacy":
                server.send_signal(signal.SIGHUP)
            else:
                async with client.listen(tools_list_changed=True):
                    server.send_signal(signal.SIGHUP)
                    await heard.until("notifications/tools/list_changed")
            await heard.until("notifications/tools/list_changed")
            assert "another" in {tool.name for tool in (await client.list_tools()).tools}

    run(main)


CALL = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "sample", "arguments": {"wait": 1}, "_meta": {"progressToken": 7}},
}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_with_all_calls(
    environment: dict[str, str], write_plugin: WritePlugin, number: int, status: int
) -> None:
    """At once, whether there is another line or not; nothing of it is left."""
    plugin = write_plugin(OBEDIENT)
    with raw(environment, "--plugins", plugin, "mcp") as process:
        say(process, INITIALIZE)
        assert hear(process)["result"]["serverInfo"]["name"] == "toolrunner"
        say(process, CALL)
        assert hear(process)["method"] == "notifications/progress"
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) == status
        _, alive = psutil.wait_procs(family, timeout=60)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_the_end_of_input_ends_it_with_all_calls(
    environment: dict[str, str], write_plugin: WritePlugin
) -> None:
    """Nothing but messages is on standard output, whatever plugins print and the log says."""
    plugin = write_plugin(OBEDIENT)
    prints = {**CALL, "id": 3, "params": {"name": "sample", "arguments": {"prints": "{}\n"}}}
    with raw(environment, "--verbose", "--plugins", plugin, "mcp") as process:
        say(process, INITIALIZE, prints)
        assert {hear(process)["id"], hear(process)["id"]} == {1, 3}
        say(process, CALL)
        assert hear(process)["method"] == "notifications/progress"
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        rest = [json.loads(line) for line in process.stdout.read().splitlines()]
        assert all(one["jsonrpc"] == "2.0" for one in rest)
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert b"failed: Cancelled" in said
        assert b"Traceback" not in said


def test_what_is_no_message_is_answered(environment: dict[str, str]) -> None:
    """Lines of anything, each with an error, and then a message. Whose host has gone, ends."""
    wrong = [b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 10000, b'{"jsonrpc": 1}', b'{"a":1,"a":2}']
    wrong += [b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": []}', b'{"a": NaN}']
    with raw(environment, "mcp") as process:
        assert process.stdin is not None
        process.stdin.write(b"\n \n" + b"\n".join(wrong) + b"\n")
        process.stdin.write(b"x" * ((MOST_MESSAGE_MB << 20) + 1) + b"\n")
        say(process, INITIALIZE)
        errors = [hear(process) for _ in [*wrong, "a long line"]]
        assert {one["jsonrpc"] for one in errors} == {"2.0"}
        assert [(one["error"]["code"], one["id"]) for one in errors] == [
            (types.INVALID_REQUEST, None),
            (types.INVALID_REQUEST, None),
            (types.INVALID_REQUEST, None),
            (types.PARSE_ERROR, None),
            (types.PARSE_ERROR, None),
            (types.INVALID_REQUEST, None),
            (types.PARSE_ERROR, None),
            (types.INVALID_REQUEST, 5),
            (types.PARSE_ERROR, None),
            (types.INVALID_REQUEST, None),
        ]
        assert errors[-1]["error"]["message"].startswith("a message is larger than 32 MB")
        assert hear(process)["id"] == 1
        assert process.stdout is not None
        process.stdout.close()
        say(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        assert process.wait(60) == 0


def test_it_says_what_is_missing(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    """The extra, or a folder."""
    refused = cli("mcp", "--files", tmp_path / "gone")
    assert refused.status == 2
    assert "--files: No such file or directory" in refused.err
    # As where it is not installed.
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'mcp' else found(name)\n"
    )
    path = os.pathsep.join([str(hidden), environment["PYTHONPATH"]])
    without = cli("mcp", PYTHONPATH=path)
    assert without.status == 2
    assert "pip install 'toolrunner-sandbox[mcp]'" in without.err


def test_nobody_else_pays_for_it(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """No other command imports what it takes."""
    code = (
        "import sys\n"
        "import toolrunner.api.cli.app, toolrunner.api.http.app, toolrunner.api.serve.worker\n"
        "print([name for name in sys.modules if name.partition('.')[0] in {'mcp', 'mcp_types',"
        " 'sse_starlette', 'httpx2'}])\n"
    )
    command = [COMMAND[0], "-P", "-c", code]
    told = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
    assert "toolrunner mcp --help" not in cli("mcp", "--help").err
    assert "claude mcp add" in cli("mcp", "--help").out
