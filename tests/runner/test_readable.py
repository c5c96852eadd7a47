"""What a manifest may ask to read, what only the operator may grant, and the advice in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.settings.settings import PluginSettings

READS = """
    def run(payload):
        return {"text": open(payload["path"]).read()}
"""


def _error(make_runner: MakeRunner, path: Path, **settings: object) -> str:
    _result, envelope = make_runner(path, **settings).run("sample", {"path": "/dev/null"})
    if envelope is None:
        return ""
    assert envelope["error"]["type"] == "PluginUnavailable"
    return envelope["error"]["message"]


@pytest.mark.parametrize("below", ["", "models", "models/deep"])
def test_nothing_in_a_home_folder_is_for_the_asking(
    below: str,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither it, nor what lies in it, nor what holds it; a link to it neither."""
    home = open_folder / "home"
    wanted = home / below
    wanted.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    link = open_folder / "link"
    link.symlink_to(wanted)
    for path in (wanted, link, open_folder):
        plugin = write_plugin(READS, read=f'["{path}"]')
        assert f"asks to read {path}, which plugins may not see" in _error(make_runner, plugin)
        granted = {"sample": PluginSettings(read=(path,))}
        assert _error(make_runner, plugin, plugin=granted) == ""


@pytest.mark.parametrize("path", ["/home", "/root", "/etc", "/proc/self", "/var/lib"])
def test_where_secrets_are_is_the_operators_to_grant(
    path: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """On every host, whoever runs it."""
    if not os.path.isdir(path):
        pytest.skip(f"this host has no {path}")
    assert "may not see" in _error(make_runner, write_plugin(READS, read=f'["{path}"]'))


def test_a_grant_is_for_what_it_names(
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what lies in it, and nothing beside it."""
    (open_folder / "models" / "deep").mkdir(parents=True)
    (open_folder / "models-too").mkdir()
    monkeypatch.setenv("HOME", str(open_folder))
    granted = {"sample": PluginSettings(read=(open_folder / "models",))}
    for name, is_granted in (("models/deep", True), ("models-too", False)):
        plugin = write_plugin(READS, read=f'["{open_folder / name}"]')
        assert (_error(make_runner, plugin, plugin=granted) == "") == is_granted
