"""Plugins of installed distributions that have an environment: their own package, and that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import environments
from tests.sandbox.boxes import value
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

MANIFEST = """
dependencies = ["tiny"]
[tool.toolrunner]
name = "inner"
input = "json"
start = "{start}"
"""
MAIN = """
import importlib.util
import tiny
from outer import WORD
from outer.other import more
def run(payload):
    beside = importlib.util.find_spec("beside") is not None
    return {"version": tiny.VERSION, "word": WORD + more(), "beside": beside}
"""
ENTRY_POINT = "[toolrunner.plugins]\ninner = outer.inner.main:run\n"


def distribution(site: Path, start: str, *, has_init: bool) -> None:
    """Install a distribution as an installer would, and a module beside it."""
    files = {
        "outer/other.py": "def more(): return ' and more'\n",
        "outer/inner/__init__.py": "",
        "outer/inner/main.py": MAIN,
        "outer/inner/toolrunner.toml": MANIFEST.format(start=start),
        "beside.py": "",
        "outer-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: outer\nVersion: 1.0\n",
        "outer-1.0.dist-info/entry_points.txt": ENTRY_POINT,
    }
    if has_init:
        files["outer/__init__.py"] = "WORD = 'a package'\n"
    else:
        files["outer/inner/main.py"] = MAIN.replace("from outer import WORD", "WORD = 'a folder'")
    listed = "".join(f"{name},,\n" for name in files)
    files["outer-1.0.dist-info/RECORD"] = listed
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    for path in (site, *site.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("has_init", [True, False])
def test_an_installed_plugin_has_its_package_and_its_environment(
    open_folder: Path,
    layers: Layers,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
    *,
    has_init: bool,
) -> None:
    """Although its package lies among the runner's, of which it sees no other one."""
    site, state = open_folder / "site-packages", open_folder / "state"
    distribution(site, start, has_init=has_init)
    monkeypatch.syspath_prepend(str(site))
    settings = Settings.load(state=state, allow_installed=["outer"])
    registry = PluginRegistry.discover(settings=settings)
    assert registry.get_state("inner") == "UNAVAILABLE"
    environments.install(state, registry.plugin("inner"))
    sandbox = build_sandbox(settings, layers=layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
        found = value(tool_runner.run("inner", {}))
    word = "a package and more" if has_init else "a folder and more"
    assert found == {"version": "1.0", "word": word, "beside": False}
