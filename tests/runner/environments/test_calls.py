"""What a plugin with an environment sees when it is called, in each mode and isolation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.conftest import WritePlugin
from tests.sandbox.boxes import value
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import build_sandbox
from toolrunner.sandbox.layers import Layers

LOOKS = """
    import sys
    import tiny
    def run(payload):
        found = {}
        for name in ("numpy", "pydantic", "psutil", "toolrunner"):
            try:
                __import__(name)
                found[name] = True
            except ModuleNotFoundError:
                found[name] = False
        return {"tiny": tiny.VERSION, "found": found, "path": sys.path, "prefix": sys.prefix,
                "executable": sys.executable, "version": list(sys.version_info[:2])}
"""
DEPENDENCIES = '["tiny"]'
MakeOwn = Callable[..., ToolRunner]


@pytest.fixture
def state(open_folder: Path) -> Path:
    """A state folder whose environments the user of a box can get at."""
    return open_folder / "state"


@pytest.fixture
def run_with(state: Path, layers: Layers) -> Any:
    """Return a function that calls a plugin file; its runner is closed after."""
    made: list[ToolRunner] = []

    def run(path: Path, payload: dict[str, Any] | None = None, **settings: Any) -> Any:
        loaded = Settings.load(state=state, **settings)
        registry = PluginRegistry.discover([path], settings=loaded)
        sandbox = build_sandbox(loaded, layers=layers)
        made.append(ToolRunner(registry, settings=loaded, sandbox=sandbox))
        call = Call()
        return {
            **value(made[-1].run("sample", payload or {}, call=call)),
            "mode": call.isolation.mode,
        }

    yield run
    for tool_runner in made:
        tool_runner.close()


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
def test_a_plugin_sees_its_environment_and_nothing_else(
    write_plugin: WritePlugin, state: Path, run_with: Any, start: str
) -> None:
    """The standard library and the environment's packages; of the runner's own nothing."""
    path = write_plugin(LOOKS, start=f'"{start}"', dependencies=DEPENDENCIES)
    folder = environments.install(state, path)
    found = run_with(path, allow_resident=["sample"])
    assert found["tiny"] == "1.0"
    assert found["found"] == dict.fromkeys(found["found"], False)
    assert str(next(folder.glob("lib/*/site-packages"))) in found["path"]
    assert not [path for path in found["path"] if path.startswith(sys.prefix + "/")]
    assert found["mode"] == {"auto": "warm", "cold": "cold", "resident": "resident"}[start]
