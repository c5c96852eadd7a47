"""Plugins behind links that a deployment swaps, as Kubernetes does with a ConfigMap."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import PluginRegistry
from toolrunner.plugins.manifest import read_toml
from toolrunner.runner.environments.wish import wish_of
from toolrunner.sandbox.layers import Layers

MANIFEST = """
[tool.toolrunner]
name = "sorted"
input = "json"
entry = "code:run"
"""


def release(folder: Path, number: int) -> None:
    """Write a folder plugin that says its number, with a module of its own."""
    folder.mkdir(parents=True)
    (folder / "toolrunner.toml").write_text(MANIFEST)
    (folder / "code.py").write_text(
        "import helper\ndef run(payload):\n    return {'n': helper.NUMBER}\n"
    )
    (folder / "helper.py").write_text(f"NUMBER = {number}\n")


def lead(link: Path, target: str) -> None:
    """Let a link lead elsewhere, in one step."""
    beside = link.with_name("..beside")
    beside.symlink_to(target)
    beside.replace(link)


@pytest.fixture
def mounted(open_folder: Path) -> Path:
    """A folder whose files are links, as a ConfigMap is mounted."""
    release(open_folder / "..1", 1)
    lead(open_folder / "..data", "..1")
    for name in os.listdir(open_folder / "..1"):
        (open_folder / name).symlink_to(f"..data/{name}")
    return open_folder


def test_the_files_of_a_folder_may_be_swapped(
    mounted: Path, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call that sees it runs the new ones, though the old are gone."""
    tool_runner = make_runner(mounted, layers=layers)
    assert tool_runner.run("sorted", {}) == ({"n": 1}, None)
    release(mounted / "..2", 2)
    lead(mounted / "..data", "..2")
    shutil.rmtree(mounted / "..1")
    answers = [tool_runner.run("sorted", {})]
    while answers[-1] == ({"n": 1}, None):  # folders are looked through once a second
        answers.append(tool_runner.run("sorted", {}))
    assert answers[-1] == ({"n": 2}, None)


@pytest.mark.parametrize("below", ["", "plugins/"])
def test_a_link_to_a_folder_may_be_swapped(
    open_folder: Path, make_runner: MakeRunner, layers: Layers, below: str
) -> None:
    """Of one plugin, or of several."""
    for number in (1, 2):
        release(open_folder / f"releases/{number}/{below}sorted", number)
    current = open_folder / "current"
    lead(current, "releases/1")
    tool_runner = make_runner(current / below if below else current / "sorted", layers=layers)
    assert tool_runner.run("sorted", {}) == ({"n": 1}, None)
    lead(current, "releases/2")
    shutil.rmtree(open_folder / "releases/1")
    assert tool_runner.run("sorted", {}) == ({"n": 2}, None)


def test_a_manifest_that_was_registered_follows_its_links(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """Not only paths do."""
    for number in (1, 2):
        release(open_folder / f"releases/{number}", number)
    lead(open_folder / "current", "releases/1")
    tool_runner = make_runner()
    manifest = read_toml(open_folder / "current" / "toolrunner.toml")
    tool_runner.registry.register("mine", instance=manifest)
    lead(open_folder / "current", "releases/2")
    shutil.rmtree(open_folder / "releases/1")
    assert tool_runner.run("mine", {}) == ({"n": 2}, None)


def test_a_lock_is_looked_for_where_the_plugin_lies_now(
    open_folder: Path, write_plugin: WritePlugin
) -> None:
    """What pins its libraries came with the same release."""
    text = write_plugin("def run(payload):\n    return {}\n").read_bytes()
    for number in ("one", "two"):
        (open_folder / f"..{number}").mkdir()
        (open_folder / f"..{number}/sample.py").write_bytes(text)
        (open_folder / f"..{number}/sample.py.lock").write_text(number)
    lead(open_folder / "..data", "..one")
    (open_folder / "sample.py").symlink_to("..data/sample.py")
    registry = PluginRegistry.discover([open_folder / "sample.py"])
    found = [wish_of(registry.plugin("sample"))]
    lead(open_folder / "..data", "..two")
    shutil.rmtree(open_folder / "..one")
    found.append(wish_of(registry.plugin("sample")))
    assert [wish and wish.lock for wish in found] == [b"one", b"two"]
