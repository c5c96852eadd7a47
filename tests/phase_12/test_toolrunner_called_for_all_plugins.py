"""Every plugin goes through ``ToolRunner.run`` and is counted once; nothing else can run one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toolrunner.runner.tool_runner
from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from toolrunner import ToolRunner
from toolrunner.plugins.discovery import OFF_BY_DEFAULT
from toolrunner.runner.payloads.samples import sample_payload
from toolrunner.runner.settings.settings import Settings

ROOT = Path(toolrunner.runner.tool_runner.__file__).parent.parent
BUNDLED = sorted(
    path.stem.replace("_", "-")
    for path in (ROOT / "plugins/bundled").glob("*.py")
    if path.stem != "__init__"
)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_plugin_is_recorded_exactly_once(name: str) -> None:
    """It works, or says why it cannot here; either way there is one record of the call."""
    settings = Settings.load().model_copy(update={"allow_bundled": OFF_BY_DEFAULT})
    registry = RecordingRegistry.discover(settings=settings)
    available = registry.is_available(name)
    payload = sample_payload(registry.plugin(name).manifest)[0] if available else {}
    assert payload is not None
    with ToolRunner(registry) as tool_runner:
        result, envelope = tool_runner.run(name, payload)
    if available:
        assert envelope is None
        assert registry.ended == [(name, "INITIALIZED", False)]
        json.dumps(result, allow_nan=False)
    else:
        assert envelope is not None
        assert envelope["error"]["type"] == "PluginUnavailable"
        assert [(plugin, failed) for plugin, _state, failed in registry.ended] == [(name, True)]
        assert registry.get_state(name) == "UNAVAILABLE"
    assert registry.begun == [name]


def test_every_kind_of_discovered_plugin_is_recorded_exactly_once(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Files, folders, broken ones and those that fail at any stage: one call, one record."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "in-folder"\nversion = "1"\ndescription = "d"\n'
        'input = "json"\nentry = "code:go"\n'
    )
    (folder / "code.py").write_text("def go(payload): return {'from': 'folder'}\n")
    expected = {
        "good": "def run(p): return {}",
        "raises": "def run(p): 1 / 0",
        "crashes": "import os\ndef run(p): os.abort()",
        "unloadable": "raise ImportError('no')",
        "wordless": "def run(p): pass",
    }
    paths = [write_plugin(body, name=name) for name, body in expected.items()]
    broken = tmp_path / "broken.py"
    broken.write_text("# /// script\n# [tool.toolrunner]\n# name = 7\n# ///\n")
    registry = RecordingRegistry.discover([*paths, folder, broken])
    own = sorted(set(registry.list_plugins()) - set(BUNDLED))
    assert {*expected, "in-folder"} <= set(own)
    assert len(own) == len(expected) + 2
    with ToolRunner(registry) as tool_runner:
        answers = {name: tool_runner.run(name, {}) for name in own}
    assert [name for name, _state, _error in registry.ended] == own
    assert registry.begun == own
    for name, (result, error) in answers.items():
        status = registry.get_status(name)
        assert status is not None
        assert status.success_count == (error is None)
        assert status.error_count == (result is None)
        assert status.in_flight == 0
    assert answers["in-folder"] == ({"from": "folder"}, None)


@pytest.mark.parametrize(
    ("name", "payload"), [("nobody", {}), ("sample", None), ("sample", {"x": object()}), (None, {})]
)
def test_a_call_that_never_starts_is_reported_once_too(
    name: Any, payload: Any, write_plugin: WritePlugin
) -> None:
    """Look-up and validation stand under the same ``finally`` as everything else."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return {}")])
    with ToolRunner(registry) as tool_runner:
        _result, envelope = tool_runner.run(name, payload)
    assert envelope is not None
    assert [(plugin, failed) for plugin, _state, failed in registry.ended] == [(name or "", True)]
