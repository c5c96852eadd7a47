"""What the shell completes: commands, options, plugins' names; and files, by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

# What bash does when TAB is pressed at the end of these words.
BASH = """
set -eu
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_toolrunner_completion toolrunner "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]:-}"
complete -p toolrunner
"""


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path) -> Path:
    """What ``--install-completion`` has installed for bash."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "toolrunner"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m toolrunner "$@"\n')
    command.chmod(0o755)
    environment["PATH"] = f"{folder}:{os.environ['PATH']}"
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        ["bash", "-c", "toolrunner --install-completion; exit $?"],
        env={**environment, "HOME": str(home)},
        check=True,
    )
    [path] = (home / ".bash_completions").iterdir()
    assert str(path) in (home / ".bashrc").read_text()
    return path


def completed(script: Path, environment: dict[str, str], *words: str) -> list[str]:
    """Return what bash offers at the end of these words."""
    ended = subprocess.run(
        ["bash", "-c", BASH, "bash", str(script), "toolrunner", *words],
        env=environment,
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *offered, registered = ended.stdout.splitlines()
    # Where there is nothing to offer, files are.
    assert registered.startswith("complete -o default -F _toolrunner_completion")
    return [word for word in offered if word]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_plugins(
    script: Path, environment: dict[str, str], write_plugin: WritePlugin
) -> None:
    """Plugins of this very line's --plugins among them."""
    own = str(write_plugin("def run(payload):\n    return {}\n", name="paltry"))
    assert completed(script, environment, "ana") == ["analyze"]
    assert completed(script, environment, "plugins", "sh") == ["show"]
    assert completed(script, environment, "analyze", "--skip") == ["--skip-existing"]
    assert completed(script, environment, "analyze", "pal") == ["palette"]
    assert completed(script, environment, "--plugins", own, "run", "pal") == ["palette", "paltry"]
    assert completed(script, environment, "plugins", "show", "bar") == ["barcode"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_files_by_itself(script: Path, environment: dict[str, str]) -> None:
    """Nothing of ours is offered there; neither are names where the settings are broken."""
    assert completed(script, environment, "analyze", "palette", "pic") == []
    broken = {**environment, "TOOLRUNNER_NO_SUCH": "1"}
    assert completed(script, broken, "analyze", "pal") == []


def test_zsh_is_offered_names_alone(cli: Cli, write_plugin: WritePlugin) -> None:
    """In the form that its own functions take, which evaluate it: no word of an author's.

    Where there is nothing to offer, files are.
    """
    own = write_plugin("def run(payload):\n    return {}\n", name="paltry")

    def offered(line: str) -> str:
        given = {"_TOOLRUNNER_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
        return cli(**given).out.strip()

    line = f"toolrunner --plugins {own} analyze pal"
    assert offered(line) == """_arguments '*: :(("palette"\n"paltry"))'"""
    assert offered("toolrunner analyze barcode pic") == "_files"


def test_h_is_help_everywhere(cli: Cli) -> None:
    """Of the command and of each command of it."""
    for words in ((), ("analyze",), ("plugins",), ("plugins", "check"), ("serve",)):
        short, long = cli(*words, "-h"), cli(*words, "--help")
        assert (short.status, short.out) == (0, long.out)
        assert "-h, --help" in short.out
