"""Whose fault it is that an install has failed, and what it is told to do: with uv itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.environments.conftest import Install
from tests.wheels import write_needy
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.settings.settings import Settings


def refused(install: Install, plugin: Path) -> tuple[ErrorType, str]:
    """Return the type and the words of an install that fails."""
    with pytest.raises(GovernedError) as told:
        install(plugin)
    return told.value.error_type, told.value.message


@pytest.mark.parametrize("dependency", ["nothing-like-that", "alpha>=7", "beta[extra]>=3"])
def test_what_is_not_here_without_a_network_is_the_hosts(
    install: Install, tmp_path: Path, dependency: str
) -> None:
    """It may be elsewhere: nobody can tell that the plugin asks for too much."""
    error_type, words = refused(install, write_needy(tmp_path, dependency))
    assert error_type is ErrorType.SANDBOX_ERROR
    assert "install it once without --offline" in words


def test_a_lock_that_makes_no_sense_is_to_be_made_anew(install: Install, tmp_path: Path) -> None:
    """By the command that makes it."""
    plugin = write_needy(tmp_path, "alpha")
    (tmp_path / "needy.py.lock").write_text("garbage\n")
    error_type, words = refused(install, plugin)
    assert error_type is ErrorType.PLUGIN_UNAVAILABLE
    assert words.splitlines()[-1] == f"make its lock anew: toolrunner plugins lock {plugin}"


@pytest.mark.parametrize("text", [f"beta==2.1 --hash=sha256:{'0' * 64}\n", "((\n"])
def test_requirements_are_mended_by_who_made_them(
    install: Install, tmp_path: Path, text: str
) -> None:
    """No command of ours has made them, and none that is named would refuse to."""
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "packed"\nentry = "main:run"\ninput = "json"\n'
        'environment = "own"\n'
    )
    (folder / "main.py").write_text("def run(payload):\n    return {}\n")
    (folder / "requirements.txt").write_text(text)
    error_type, words = refused(install, folder)
    assert error_type is ErrorType.PLUGIN_UNAVAILABLE
    assert "correct its requirements.txt" in words.splitlines()[-1]
    assert "plugins lock" not in words


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("UV_DEFAULT_INDEX", "nonsense", "UV_DEFAULT_INDEX names what is neither"),
        ("UV_INDEX", "https://index.example ours=nonsense", "UV_INDEX names what is neither"),
        ("UV_INDEX_STRATEGY", "nonsense", "correct what uv has been told"),
        ("UV_CONFIG_FILE", "/nowhere/uv.toml", "UV_CONFIG_FILE names /nowhere/uv.toml, which"),
        ("UV_CONFIG_FILE", "bad.toml", "correct what uv has been told"),
    ],
)
def test_what_uv_was_told_is_the_operators(
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    said: str,
) -> None:
    """No plugin can mend it."""
    monkeypatch.delenv("UV_NO_CONFIG")
    (tmp_path / "bad.toml").write_text("index = [\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    error_type, words = refused(install, write_needy(tmp_path, "beta"))
    assert error_type is ErrorType.SANDBOX_ERROR
    assert said in words


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With the option that chooses another one."""
    (tmp_path / "file").write_text("")
    state = tmp_path / "file/state"
    with pytest.raises(
        GovernedError, match=r"the state folder .*file/state cannot.*--state"
    ) as told:
        Installer(Settings(state=state)).__enter__()
    assert told.value.error_type is ErrorType.SANDBOX_ERROR
