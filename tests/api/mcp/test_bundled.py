"""Every bundled plugin as a tool over both transports, by the official client and the Inspector.

The Inspector's command line lists and calls; it has no way to cancel a call, and shows no progress.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp import types
from mcp.client.client import Client
from PIL import Image

from tests.api.http.conftest import MakeSite, Site, kept, make_site
from tests.api.mcp.agents import (
    Progress,
    busy_below,
    command_in,
    over_http,
    over_stdio,
    run,
    text_of,
)
from tests.clients_environment import Tool, tool_in
from tests.runner.waiting import spin

__all__ = ["kept", "make_site"]

BUNDLED = {"barcode", "image-info", "ocr", "palette", "python", "text-stats"}
FILE = "stripes.png"
CODE = "open('a.csv', 'w').write('a,b\\n')\n6 * 7"


def picture() -> bytes:
    """Return a small picture."""
    image = Image.new("RGB", (64, 48), "navy")
    image.paste("gold", (0, 0, 20, 48))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def arguments_of(tools: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return arguments for each tool; fail for tools that are not the bundled plugins."""
    assert {*tools} | {"ocr"} == BUNDLED  # which needs an extra
    image = {"image": base64.b64encode(picture()).decode(), "mime_type": "image/png"}
    other = {"text-stats": {"text": "One two."}, "python": {"code": CODE}}
    return {tool: other.get(tool, image) for tool in sorted(tools)}


@pytest.fixture
def allowing(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose operator allows the code tool."""
    settings = tmp_path / "config.toml"
    settings.write_text('allow_bundled = ["python"]\n')
    return {**environment, "TOOLRUNNER_CONFIG": str(settings)}


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Return a function that runs other people's programs: see ``tool_in``."""
    return tool_in(tmp_path)


async def called(client: Client, tool: str, given: dict[str, Any]) -> types.CallToolResult:
    """Return the result of a call that is followed: progress only goes up."""
    progress = Progress()
    result = await client.call_tool(tool, given, progress_callback=progress)
    assert not result.is_error, text_of(result)
    assert json.loads(text_of(result)) == result.structured_content
    fractions = [fraction for fraction, _, _ in progress.told]
    assert fractions == sorted(set(fractions))
    return result


async def all_called_and_cancelled(client: Client) -> dict[str, dict[str, Any]]:
    """Call each tool, cancel calls of it at several moments, and call it again; return results."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    results = {}
    for tool, given in arguments_of(tools).items():
        first = await called(client, tool, given)
        for turns in (1, 10, 100):
            call = asyncio.ensure_future(client.call_tool(tool, given))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        again = await called(client, tool, given)
        assert again.structured_content == first.structured_content
        assert again.structured_content is not None
        results[tool] = again.structured_content
    assert results["text-stats"]["words"] == 2
    assert results["python"]["value"] == 42
    file = (await client.call_tool("python", {"code": CODE})).content[1]
    assert isinstance(file, types.EmbeddedResource)
    assert isinstance(file.resource, types.TextResourceContents)
    assert file.resource.text == "a,b\n"
    hints = tools["python"].annotations
    assert hints is not None
    assert hints.read_only_hint
    about = str(tools["python"].description)
    for words in ("NumPy and Pillow", "end the code with an expression", "1,024 MiB", "no network"):
        assert words in about
    return results


async def endless_is_ended(client: Client, is_running: Callable[[], bool]) -> None:
    """Cancel a call that would not end, and see it ended."""
    call = asyncio.ensure_future(client.call_tool("python", {"code": "while True: pass"}))
    await asyncio.to_thread(spin, is_running)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await asyncio.to_thread(spin, lambda: not is_running())


def inspected(tool: Tool, names: Collection[str], *server: str) -> dict[str, dict[str, Any]]:
    """Have the Inspector list all tools and call some; return what their results are."""

    def answer(*options: str) -> dict[str, Any]:
        told = tool("mcp-inspector", "--cli", *server, "--format", "json", *options)
        answered: dict[str, Any] = json.loads(told)["result"]
        return answered

    def called_by_it(name: str) -> dict[str, Any]:
        given = json.dumps(arguments[name])
        options = ("--method", "tools/call", "--tool-name", name, "--tool-args-json", given)
        result = answer(*options)
        assert result["isError"] is False, result
        found: dict[str, Any] = result["structuredContent"]
        return found

    listed = answer("--method", "tools/list", "--strict")
    arguments = arguments_of([one["name"] for one in listed["tools"]])
    assert {*names} <= {*arguments}
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(names, threads.map(called_by_it, names), strict=True))


def without_chance(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return results as every call has them: but for what names the files of one call."""
    return {**results, "python": {**results["python"], "files": []}}


def test_over_stdio(allowing: dict[str, str], tmp_path: Path, tool: Tool) -> None:
    """Images are in base64 or named by their paths."""
    (tmp_path / FILE).write_bytes(picture())

    async def main() -> dict[str, dict[str, Any]]:
        async with over_stdio(allowing, "mcp", "--files", tmp_path) as client:
            results = await all_called_and_cancelled(client)
            named = await client.call_tool("palette", {"path": FILE})
            assert named.structured_content == results["palette"]
            [server] = [one for one in psutil.Process().children() if "toolrunner" in one.cmdline()]
            await endless_is_ended(client, lambda: bool(busy_below(server)))
            return results

    results = run(main)
    # Each call is by a server of its own then: one of each kind shows what the transport does.
    few = {name: results[name] for name in ("palette", "python")}
    found = inspected(tool, few, str(command_in(tmp_path / "bin", allowing)), "mcp")
    assert without_chance(found) == without_chance(few)


def test_over_http(make_site: MakeSite, tool: Tool) -> None:
    """With a key."""
    site = make_site(Path("plugins/bundled/text_stats.py"), keys=True, allow_bundled=("python",))
    assert site.doors.keys is not None
    key = site.doors.keys.create("agent")[1]
    address = f"http://127.0.0.1:{site.address[1]}"

    async def main() -> dict[str, dict[str, Any]]:
        async with over_http(address, key=key) as client:
            results = await all_called_and_cancelled(client)
            await endless_is_ended(client, lambda: runs(site, "python"))
            return results

    results = run(main)
    header = ("--header", f"Authorization: Bearer {key}")
    found = inspected(tool, results, f"{address}/mcp", *header)
    assert without_chance(found) == without_chance(results)


def runs(site: Site, plugin: str) -> bool:
    """Whether a call of a plugin runs."""
    status = site.doors.backend.plugins.get_plugin(plugin)
    return status is not None and status.in_flight > 0
