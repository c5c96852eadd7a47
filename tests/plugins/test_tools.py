"""Plugins of several tools: each has a manifest of its own, made of both tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.manifests import HEAD, fails, plugin_file
from toolrunner.plugins.discovery import discover
from toolrunner.plugins.manifest import Manifest, read_inline

VISION = """\
[tool.toolrunner]
name = "vision"
version = "2"
description = "sees"
limits = { memory_mb = 100 }
network = true
start = "resident"
[tool.toolrunner.tools.detect]
description = "finds"
limits = { wall_seconds = 3 }
[tool.toolrunner.tools.Count_all]
input = "json"
input_schema = { required = ["a"] }
output_schema = { required = ["n"] }
error_key = "error"
"""
TOOL = "[tool.toolrunner.tools.a]\n"
MISTAKES = {
    "no table of tools": (f"{HEAD}tools = 3", 4, "tools", "[tool.toolrunner.tools.my-tool]"),
    "no table": (f"{HEAD}tools = {{ a = 3 }}", 4, "tools.a", "must be a table"),
    "name": (f"{HEAD}[tool.toolrunner.tools.'a b']", 4, 'tools."a b"', "1 to 64 letters"),
    "unknown key": (f"{HEAD}{TOOL}inptu = 'json'", 5, "tools.a.inptu", "did you mean input?"),
    "unlike any key": (f"{HEAD}{TOOL}zzz = 1", 5, "tools.a.zzz", "use one of: description, input"),
    "key of the plugin's": (
        f"{HEAD}{TOOL}network = true",
        5,
        "tools.a.network",
        "is the plugin's as a whole; move it to [tool.toolrunner]",
    ),
    "wrong value": (f"{HEAD}{TOOL}input = 'xml'", 5, "tools.a.input", "must be 'image', 'json'"),
    "wrong type": (f"{HEAD}{TOOL}description = 3", 5, "tools.a.description", "text in quotes"),
    "limit": (f"{HEAD}{TOOL}limits = {{ memory = 1 }}", 5, "tools.a.limits.memory", "memory_mb"),
    "schema": (
        f"{HEAD}{TOOL}output_schema = {{ type = 3 }}",
        5,
        "tools.a.output_schema.type",
        "is no type of JSON Schema",
    ),
    "schema for an image": (
        f"{HEAD}{TOOL}input_schema = {{}}",
        5,
        "tools.a.input_schema",
        'only for input = "json"',
    ),
    "warm-up of several": (
        f"{HEAD}warm_up = true\n{TOOL}",
        5,
        "tools",
        "warm_up is not for a plugin of several tools",
    ),
    "batch of several": (
        f'{HEAD}start = "resident"\nbatch = 3\n{TOOL}',
        6,
        "tools",
        "batch is not for a plugin of several tools",
    ),
}


def test_what_a_tool_does_not_say_is_its_plugins(tmp_path: Path) -> None:
    """Single limits too; what describes another kind of input is not taken over."""
    manifest = read_inline(plugin_file(tmp_path, VISION))
    detect, count = manifest.tools.values()
    assert (detect.name, detect.plugin, detect.tool) == ("vision:detect", "vision", "detect")
    assert (detect.limits.wall_seconds, detect.limits.memory_mb) == (3, 100)
    assert (detect.description, detect.version, detect.network) == ("finds", "2", True)
    assert detect.accepts == manifest.accepts
    assert (count.name, count.description, count.start) == ("vision:Count_all", "sees", "resident")
    assert (count.accepts, count.input_schema) == ((), {"required": ["a"]})
    assert (count.output_schema, count.error_key) == ({"required": ["n"]}, "error")
    assert count.file == manifest.file
    assert manifest.plugin == "vision"
    assert manifest.tool == ""
    assert manifest.named("other").tools["detect"].name == "other:detect"


@pytest.mark.parametrize(("toml", "line", "key", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, toml: str, line: int, key: str, words: str
) -> None:
    """As any in a manifest is."""
    path = plugin_file(tmp_path, toml)
    error = fails(path)
    assert str(error).startswith(f"{path}:{line}: tool.toolrunner.{key}: ")
    assert words in str(error)
    assert "\n" not in str(error)


def test_what_the_plugin_says_wrong_is_told_once(tmp_path: Path) -> None:
    """And not once more for each of its tools."""
    text = str(fails(plugin_file(tmp_path, f"[tool.toolrunner]\nname = 3\n{TOOL}")))
    assert len(text.splitlines()) == 1
    assert "tool.toolrunner.name: must be text" in text


def test_error_key_is_a_key(tmp_path: Path) -> None:
    """An empty one would be any."""
    text = str(fails(plugin_file(tmp_path, f'{HEAD}error_key = ""')))
    assert "tool.toolrunner.error_key: is empty" in text


def test_each_tool_is_discovered(tmp_path: Path) -> None:
    """By the name that it is called by; the plugin as a whole cannot be called."""
    plugin_file(tmp_path, VISION)
    found, broken = discover(tmp_path, bundled=False)
    assert not broken
    assert [plugin.name for plugin in found] == ["vision:detect", "vision:Count_all"]
    assert {plugin.entire.name for plugin in found} == {"vision"}
    assert [one.name for one in found[0].entire.each] == [plugin.name for plugin in found]


def test_a_manifest_in_python_has_tools_too() -> None:
    """Made of the same tables."""
    manifest = Manifest.model_validate({"name": "a", "tools": {"b": {"input": "json"}}})
    assert manifest.tools["b"].name == "a:b"
