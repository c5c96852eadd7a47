"""docs/agents.md: what it shows works as it is written there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.api.http.conftest import MakeSite, kept, make_site
from tests.api.mcp.agents import INITIALIZE, command_in, hear, raw, say
from tests.conftest import WritePlugin
from toolrunner.api.mcp.results import MOST_FILES_BYTES, MOST_TEXT_BYTES
from toolrunner.api.mcp.serving import PAGE
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.limits import MIB

__all__ = ["kept", "make_site"]

ROOT = Path(__file__).parents[3]
PAGE_TEXT = (ROOT / "docs/agents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE_TEXT, re.DOTALL)
LOCAL, REMOTE = [text for kind, text in BLOCKS if kind == "python"]
COMMANDS = [
    shlex.split(line) for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()
]


def servers() -> list[dict[str, Any]]:
    """Return the servers of all hosts' configurations."""
    found: list[dict[str, Any]] = []
    for kind, text in BLOCKS:
        if kind == "json":
            document = json.loads(text)
            found += [
                *document.get("mcpServers", {}).values(),
                *document.get("servers", {}).values(),
            ]
    return found


def test_hosts_that_start_it_are_told_a_command_that_works(
    environment: dict[str, str], tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """With the folders of whoever reads it."""
    plugin = write_plugin("def run(payload):\n    return {}\n")
    given = [one["args"] for one in servers() if one.get("command") == "toolrunner"]
    assert len(given) == 3
    places = {
        "/home/me/my_plugins": str(plugin.parent),
        "/home/me/Pictures": str(tmp_path),
        "${workspaceFolder}": str(tmp_path),
    }
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    for words in given:
        arguments = [places.get(word, word) for word in words]
        assert not any("/home/me" in word for word in arguments)
        with raw(environment, *arguments) as process:
            say(process, INITIALIZE, listing)
            assert hear(process)["id"] == INITIALIZE["id"]
            names = {tool["name"] for tool in hear(process)["result"]["tools"]}
        assert names >= {"palette", "text-stats"}
        assert ("sample" in names) is ("--plugins" in words)


def test_hosts_that_ask_a_server_send_a_key(make_site: MakeSite) -> None:
    """In a header that it reads."""
    site = make_site(keys=True)
    assert site.doors.keys is not None
    token = site.doors.keys.create("host")[1]
    given = [one for one in servers() if "url" in one]
    assert len(given) == 3
    for one in given:
        assert one["url"].endswith("/mcp")
        [(name, value)] = one["headers"].items()
        value = re.sub(r"\$\{[^}]*\}|tr_KEY", token, value)
        answer = site.post(
            "/mcp",
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            Accept="application/json, text/event-stream",
            **{name: value},
        )
        assert answer.status_code == 200


def test_its_commands_are_ones(cli: Cli) -> None:
    """Of toolrunner, and of the hosts that start it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [install] = [words for words in COMMANDS if words[0] == "pip"]
    name, extra = re.fullmatch(r"([\w-]+)\[(\w+)\]", install[-1]).groups()  # type: ignore[union-attr]
    assert name == extras["name"]
    assert extra in extras["optional-dependencies"]
    started = [words for words in COMMANDS if words[0] in {"claude", "npx"}]
    assert len(started) == 4
    for words in started:
        if "toolrunner" in words and "http" not in words:
            after = words[len(words) - words[::-1].index("mcp") - 1 :]
            assert after[0] == "mcp"
    assert cli("mcp", "--help").status == 0


def said_by(code: str, environment: dict[str, str]) -> str:
    """Return what a program of one's own prints."""
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_its_python_starts_a_server(environment: dict[str, str], tmp_path: Path) -> None:
    """As a program of one's own."""
    command = command_in(tmp_path / "bin", environment)
    # A client of this SDK hands on no more of its environment than a path and a home.
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    assert said_by(LOCAL, {**environment, "PATH": path}) == "3\n"


def test_its_python_asks_a_server(environment: dict[str, str], make_site: MakeSite) -> None:
    """With a key of it."""
    site = make_site(keys=True)
    assert site.doors.keys is not None
    code = REMOTE.replace("tr_KEY", site.doors.keys.create("program")[1])
    code = code.replace("https://tools.example.org", f"http://127.0.0.1:{site.address[1]}")
    assert code.count("127.0.0.1") == 1
    assert said_by(code, environment) == "3\n"


def test_its_settings_are_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code tool is allowed by them."""
    [text] = [text for kind, text in BLOCKS if kind == "toml"]
    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setenv("TOOLRUNNER_CONFIG", str(file))
    assert Settings.load().allow_bundled == ("python",)


def test_its_figures_are_those_of_the_code() -> None:
    """As sizes and numbers stand in the text."""
    assert f"pages of {PAGE}," in PAGE_TEXT
    assert f"Up to {MOST_TEXT_BYTES // 1024} KiB" in PAGE_TEXT
    assert f"All together up to {MOST_FILES_BYTES // MIB} MiB" in PAGE_TEXT


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#h][^)#]*)", PAGE_TEXT))
def test_its_links_lead_somewhere(target: str) -> None:
    """To files that are there."""
    assert (ROOT / "docs" / target).exists()
