"""What ``plugins new`` writes: plugins that check, pass their own tests, and every tool of ours."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.commands import needs_node
from toolrunner.api.cli.templates import Template

ROOT = Path(__file__).parents[3]
PYTHON = (Template.IMAGE, Template.JSON, Template.FILES)
TEMPLATES = [
    pytest.param(one, marks=needs_node) if one is Template.NODE else one for one in Template
]


def made(cli: Cli, template: str, name: str = "my-first") -> tuple[dict[str, Any], str]:
    """Write a plugin; return its document, and the words that tell what to do next."""
    ended = cli("plugins", "new", name, "--dir", "mine", "--template", template, "--json")
    assert ended.status == 0
    return ended.documents[0], ended.err


def tool(name: str, *arguments: str, folder: Path) -> None:
    """Run a tool of the development environment in a folder; it has to find nothing."""
    command = [sys.executable, "-P", "-m", name, *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_plugin_passes_its_check_untouched(cli: Cli, template: Template) -> None:
    """It loads, warms up, and answers its sample; calls start warm."""
    document, _ = made(cli, template)
    checked = cli("plugins", "check", document["path"], "--json")
    [report] = checked.documents
    assert (checked.status, report["ok"]) == (0, True), report
    assert report["start"]["mode"] == "warm"
    assert [step["name"] for step in report["steps"]][-2:] == ["runs", "returns"]
    assert report["notes"] == []
    assert not any("warm_up" in words for words in report["advice"])


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_plugin_runs_as_it_is_told(cli: Cli, template: Template) -> None:
    """The command that is shown can be copied."""
    _, words = made(cli, template)
    [line] = [line.strip() for line in words.splitlines() if " --plugins " in line]
    _, *arguments = shlex.split(line)
    ended = cli(*arguments, "--json")
    assert (ended.status, "result" in ended.documents[0]) == (0, True), ended.out + ended.err


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_plugin_passes_its_own_tests(cli: Cli, template: Template, tmp_path: Path) -> None:
    """With the fixture, in the real sandbox."""
    document, words = made(cli, template)
    [line] = [line.strip() for line in words.splitlines() if line.strip().startswith("pytest ")]
    assert line.removeprefix("pytest ") in document["files"]
    tool("pytest", "-p", "no:cacheprovider", "-q", line.removeprefix("pytest "), folder=tmp_path)


def test_new_plugins_pass_the_strictest_linters(cli: Cli, tmp_path: Path) -> None:
    """Format, lint and types as the project itself has them, and as ruff has them by default.

    All at once, since mypy reads what they import anew each time.
    """
    sources = [
        tmp_path / file
        for template in Template
        for file in made(cli, template, name=f"my-{template}")[0]["files"]
        if file.endswith(".py")
    ]
    assert len(sources) > len(PYTHON)
    config = str(ROOT / "pyproject.toml")
    for folder in {source.parent for source in sources}:
        names = [source.name for source in sources if source.parent == folder]
        for options in (
            ("format", "--config", config, "--check"),
            ("check", "--config", config),
            ("format", "--isolated", "--check"),
            ("check", "--isolated"),
            ("check", "--isolated", "--select=E501"),
        ):
            tool("ruff", *options, "--no-cache", *names, folder=folder)
    own = tmp_path / "mypy.ini"
    own.write_text("[mypy]\nstrict = True\nwarn_unreachable = True\n")
    tool(
        "mypy",
        "--config-file",
        str(own),
        "--cache-dir",
        os.devnull,
        *map(str, sources),
        folder=tmp_path,
    )


@pytest.mark.parametrize("template", PYTHON)
def test_a_new_python_plugin_imports_nothing_of_ours(
    cli: Cli, template: Template, tmp_path: Path
) -> None:
    """It is a file of its own; only its test knows Toolrunner."""
    document, _ = made(cli, template)
    assert document["path"] == "mine/my_first.py"
    source = (tmp_path / document["path"]).read_text()
    assert "toolrunner" not in "".join(line for line in source.splitlines() if "import" in line)


def test_a_template_without_its_program_says_what_to_install(cli: Cli, tmp_path: Path) -> None:
    """Node may be missing: the check of the template names the package."""
    document, _ = made(cli, Template.NODE)
    manifest = tmp_path / document["path"] / "toolrunner.toml"
    manifest.write_text(manifest.read_text().replace('"node",', '"Rscript",'))
    checked = cli("plugins", "check", document["path"])
    assert checked.status == 1
    assert "apt-get install r-base-core" in " ".join(checked.out.split())


@pytest.mark.parametrize(
    ("template", "there"),
    [("json", "mine.py"), ("json", "test_mine.py"), ("image", "mine_sample.png"), ("node", "mine")],
)
def test_nothing_is_overwritten(cli: Cli, template: str, there: str, tmp_path: Path) -> None:
    """One file that is there keeps all others from being written."""
    (tmp_path / there).write_text("precious")
    ended = cli("plugins", "new", "mine", "--template", template)
    assert (ended.status, ended.out) == (2, "")
    assert f"{there} exists already" in ended.err
    assert [(path.name, path.read_text()) for path in tmp_path.glob("*mine*")] == [
        (there, "precious")
    ]


def test_what_goes_wrong_in_a_new_program_is_an_error_of_the_call(cli: Cli, tmp_path: Path) -> None:
    """As docs/any-language.md has it: nothing of it is run when it is loaded."""
    document, _ = made(cli, "shell")
    folder = tmp_path / document["path"]
    given = tmp_path / "a.txt"
    given.write_text("a")
    options = ("--plugins", folder, "run", "my-first", given)
    manifest = (folder / "toolrunner.toml").read_text()
    (folder / "toolrunner.toml").write_text(manifest.replace("cpu_seconds = 30", "cpu_seconds = 1"))
    for body, kind, words in (
        ("echo 'no such thing' >&2; exit 3", "ExecutionError", "ends with:\n  | no such thing\n"),
        (
            "while :; do :; done",
            "CpuLimitExceeded",
            "(what it writes to standard error in one is shown)",
        ),
    ):
        (folder / "main.sh").write_text(f"#!/bin/sh\n{body}\n")
        told = cli(*options, COLUMNS="1000").err
        assert told.startswith(f"✗ my-first: {kind} (the plugin")
        assert words in told


def test_show_has_the_command_of_a_program(cli: Cli) -> None:
    """As it would be written in a shell, and as a list in JSON."""
    document, _ = made(cli, "shell")
    options = ("--plugins", document["path"], "plugins", "show", "my-first")
    assert cli(*options, "--json").documents[0]["command"] == ["./main.sh"]
    assert "command       ./main.sh" in cli(*options).out


def test_a_program_has_no_python_to_debug(cli: Cli) -> None:
    """``--debug`` prints a line for a shell instead, for whatever user."""
    document, _ = made(cli, "shell")
    ended = cli("plugins", "check", document["path"], "--debug")
    assert ended.status == 0
    assert document["path"] in ended.out
