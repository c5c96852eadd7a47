"""``scripts/migrate_phase_12.py``: plugins of another host, migrated and then really run."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "migrate_phase_12.py"
SAMPLES = Path(__file__).parent / "samples"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
PICTURE = {"image": PNG, "mime_type": "image/png"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of the script ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What ``--json`` printed."""
        return json.loads(self.out)


def migrate(*arguments: str | Path, script: Path = SCRIPT) -> Ended:
    """Run the script as a user does."""
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its path there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the sample that the test's parameter ``shape`` names."""
    shape = request.getfixturevalue("shape")
    # Readable by the user of a box, whoever runs the tests.
    tmp_path.chmod(0o755)
    return Path(shutil.copytree(SAMPLES / shape, tmp_path / shape, copy_function=shutil.copyfile))


# Each shape: what is a plugin once it has been migrated, its name, and calls with their results.
Calls = list[tuple[dict[str, Any], dict[str, Any]]]
MIGRATED: dict[str, tuple[str, str, Calls]] = {
    "class_run": ("upper.py", "upper-case", [({"text": "hi"}, {"text": "HI!"})]),
    "analyze_image": (
        "size.py",
        "size",
        [
            (PICTURE, {"text": "1x1", "blocks": [], "extra": {"bytes": len(PNG)}}),
            (
                {**PICTURE, "options": {"factor": 2}},
                {"text": "1x1", "blocks": [], "extra": {"bytes": 2 * len(PNG)}},
            ),
        ],
    ),
    "run_tool_class": (
        "tools.py",
        "toolbox",
        [
            ({"tool": "add", "args": {"a": 1, "b": 2}}, {"sum": 3}),
            (
                {"tool": "measure", "args": {"image_base64": base64.b64encode(PNG).decode()}},
                {"bytes": len(PNG)},
            ),
            ({"tool": "words", "args": {"text": "a b"}}, {"result": ["a", "b"]}),
        ],
    ),
    "async_tools": (
        "waits.py",
        "waits",
        [
            ({"tool": "wait", "args": {"word": "x"}}, {"word": "x", "ready": True}),
            ({"tool": "now"}, {"ready": True}),
            ({"tool": "size", "args": {"data": "AAAA"}}, {"bytes": 3, "is_bytes": True}),
        ],
    ),
    "pydantic_result": (
        "model.py",
        "detector",
        [
            (
                {**PICTURE, "options": {"label": "cup"}},
                {"found": [{"label": "cup", "box": [0, len(PNG)]}]},
            )
        ],
    ),
    "named_arguments": (
        "greet.py",
        "greet",
        [({"who": "you", "times": 2}, {"text": "hello you hello you"})],
    ),
    "module_function": (
        "flip.py",
        "flip",
        [({**PICTURE, "options": {"b": 1, "a": 2}}, {"result": ["iVBO", ["a", "b"]]})],
    ),
    "folder_manifest": (
        "",
        "counter",
        [
            (
                {"tool": "letters", "args": {"text": "aab", "most": 1}},
                {"letters": {"a": 2}},
            ),
            ({"tool": "lines", "args": {"text": "one\ntwo"}}, {"lines": 2}),
        ],
    ),
    "folder_siblings": ("", "scale", [({"number": 7}, {"scaled": 21})]),
    "package_manifest": ("", "package-style", [({"more": 4}, {"sum": 7})]),
    "distribution": (
        "src/forgesyte_ledger",
        "ledger",
        [({"tool": "total", "args": {"amounts": [1, 2.5]}}, {"total": 3.5, "currency": "EUR"})],
    ),
    "setup_cfg": (
        "forgesyte_shade",
        "shade",
        [(PICTURE, {"mean": sum(PNG) / len(PNG), "type": "image/png"})],
    ),
}
every_shape = pytest.mark.parametrize("shape", MIGRATED)


def named(shape: str, folder: Path) -> Path:
    """Return what to name on the command line: a file where a function has to be known as one."""
    return folder / "flip.py" if shape == "module_function" else folder


@every_shape
def test_a_migrated_plugin_runs(shape: str, sample: Path, make_runner: MakeRunner) -> None:
    """Under the real ToolRunner, with the result that its own host got."""
    ended = migrate(named(shape, sample), "--write")
    assert ended.status == 0, ended.out
    plugin, name, calls = MIGRATED[shape]
    tool_runner = make_runner(sample / plugin)
    for payload, wanted in calls:
        result, error = tool_runner.run(name, payload)
        assert error is None, error
        assert result == wanted


@every_shape
def test_a_migrated_plugin_passes_its_check(shape: str, sample: Path, tmp_path: Path) -> None:
    """``toolrunner plugins check`` finds nothing wrong: the sample call that was made up works."""
    migrate(named(shape, sample), "--write")
    plugin = sample / MIGRATED[shape][0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOOLRUNNER_STATE": str(tmp_path / "s")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "api.cli", "plugins", "check", str(plugin)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_shape
def test_a_dry_run_changes_nothing(shape: str, sample: Path) -> None:
    """It shows a diff, and exits with 1 since there is something to do."""
    before = contents(sample)
    ended = migrate(named(shape, sample))
    assert ended.status == 1
    assert '+# name = "' in ended.out or '+name = "' in ended.out
    assert contents(sample) == before


@every_shape
def test_what_was_there_is_kept(shape: str, sample: Path) -> None:
    """Every file that changed has its old bytes beside it, and nothing else is left behind."""
    before = contents(sample)
    migrate(named(shape, sample), "--write")
    after = contents(sample)
    for path, data in before.items():
        assert after[path] == data or after[f"{path}.orig"] == data
    new = after.keys() - before.keys()
    assert {Path(path).name for path in new if not path.endswith(".orig")} <= {
        "toolrunner.toml",
        "toolrunner_entry.py",
    }


@every_shape
def test_a_second_run_finds_nothing_to_do(shape: str, sample: Path) -> None:
    """And changes nothing."""
    migrate(named(shape, sample), "--write")
    before = contents(sample)
    ended = migrate(named(shape, sample), "--write")
    assert ended.status == 0, ended.out
    assert ended.out == "Phase 12 migration: nothing to do.\n"
    assert contents(sample) == before
