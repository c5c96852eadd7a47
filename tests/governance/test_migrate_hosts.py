"""Plugins that go on living with their old host, and what a person has left to do after it all."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import MakeRunner
from tests.governance.migrating import PICTURE, PLUGIN, PNG, ROOT, SAMPLES, contents, migrate


def sample(shape: str, folder: Path) -> Path:
    """Return a copy of a sample that the user of a box can read."""
    folder.chmod(0o755)
    copied = shutil.copytree(SAMPLES / shape, folder / shape, copy_function=shutil.copyfile)
    return Path(copied)


def in_shell(commands: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands as a user does who has installed Toolrunner, until one fails."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "toolrunner"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m toolrunner "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TOOLRUNNER_STATE": str(folder / "state"),
    }
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(commands)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ("class_run", ["upper-case"]),
        ("distribution", ["ledger:total"]),
        ("protocol_base", ["words"]),
        ("folder_manifest", ["counter:letters", "counter:lines"]),
        ("nested", ["edges", "upper"]),
    ],
)
def test_the_next_steps_that_are_printed_work(
    shape: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, from where the script was run: a file, a src folder, folders of folders."""
    folder = sample(shape, tmp_path)
    renamed = folder.rename(tmp_path / "my plugins")
    monkeypatch.chdir(tmp_path)
    out = migrate(renamed.name, "--write").out
    commands = [
        line.strip() for line in out.partition("Next:\n")[2].splitlines() if line[:2] == "  "
    ]
    assert len(commands) == len({name.partition(":")[0] for name in names}) + 1
    done = in_shell(commands, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = done.stdout.rpartition("description")[2]
    for name in names:
        [row] = [line for line in listed.splitlines() if line.split()[:1] == [name]]
        assert "LOADED" in row


@pytest.mark.parametrize("shape", ["protocol_base", "distribution", "setup_cfg"])
def test_the_old_host_still_finds_its_plugins(shape: str, tmp_path: Path) -> None:
    """Every entry point that was there is there; ours is beside them, in a group of its own."""
    folder = sample(shape, tmp_path)
    metadata = folder / ("setup.cfg" if shape == "setup_cfg" else "pyproject.toml")
    before = metadata.read_text().splitlines()
    migrate(folder, "--write")
    after = metadata.read_text().splitlines()
    kept = iter(after)
    assert all(line in kept for line in before)  # in their order, each as it was
    if shape != "setup_cfg":
        points = tomllib.loads(metadata.read_text())["project"]["entry-points"]
        [ours] = points.pop("toolrunner.plugins").values()
        assert ours.endswith((".toolrunner_entry:run", ".toolrunner_entry:run_tool"))
        assert {*points} <= {"acme.plugins", "acme_v2.plugins", "forgesyte.plugins"}


def test_a_plugin_goes_on_with_its_hosts_own_base_class(tmp_path: Path) -> None:
    """What stands in for it is for the box alone, where it is missing."""
    folder = sample("class_run", tmp_path)
    migrate(folder, "--write")
    host = tmp_path / "app" / "plugins"
    host.mkdir(parents=True)
    (host / "base.py").write_text("class BasePlugin:\n    is_the_hosts = True\n")
    code = "import upper; print(upper.UpperPlugin.is_the_hosts)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_bundled_plugins_name_is_said_before_both_are_lost(
    tmp_path: Path, make_runner: MakeRunner, is_folder: bool
) -> None:
    """And another name is one option away."""
    tmp_path.chmod(0o755)
    path = tmp_path / "own" / "text_stats.py"
    path.parent.mkdir()
    path.write_text(PLUGIN.replace(":", ":\n    name = 'text-stats'", 1))
    if is_folder:
        (path.parent / "manifest.json").write_text(
            '{"id": "text_stats", "entrypoint": "text_stats:Plugin"}'
        )
    before = contents(tmp_path)
    ended = migrate(path.parent, "--write")
    assert ended.status == 1
    assert "the name text-stats is that of a bundled plugin: with both, neither" in ended.out
    assert "--rename text-stats=ANOTHER-NAME" in ended.out
    assert contents(tmp_path) == before
    assert migrate(path.parent, "--write", "--rename", "text-stats=acme-stats").status == 0
    tool_runner = make_runner(path.parent)
    assert tool_runner.run("acme-stats", {}) == ({}, None)
    assert tool_runner.registry.is_available("text-stats")


def test_a_bundled_plugins_name_in_a_manifest_is_said_as_well(tmp_path: Path) -> None:
    """Whoever wrote that; but the bundled one may have it."""
    bundled = ROOT / "plugins" / "bundled" / "palette.py"
    (tmp_path / "mine.py").write_bytes(bundled.read_bytes())
    ended = migrate(tmp_path)
    assert "the name palette is that of a bundled plugin" in ended.out
    assert "give it another one in its manifest" in ended.out
    assert "is that of a bundled plugin" not in migrate(bundled.parent).out


@pytest.mark.parametrize("names", ["ocr", "ocr=", "ocr=Bad Name", "ocr=-x"])
def test_a_new_name_has_to_be_one(tmp_path: Path, names: str) -> None:
    """Wrong usage, and nothing is changed."""
    (tmp_path / "one.py").write_text(PLUGIN)
    ended = migrate(tmp_path, "--rename", names)
    assert (ended.status, ended.out) == (2, "")


def test_errors_inside_results_are_left_to_a_person(
    tmp_path: Path, make_runner: MakeRunner
) -> None:
    """The plugin is migrated; what is left is said until it is mended, or answered.

    One under a key of its own is declared, and is an error from now on.
    """
    path = sample("errors_in_result", tmp_path) / "divide.py"
    ended = migrate(path.parent, "--write", "--json")
    assert ended.status == 1
    found = {one["line"]: one["what"] for one in ended.document["by_hand"]}
    assert {n for n, what in found.items() if "an error inside its result" in what} == {20}
    notes = [one for one in ended.document["notes"] if "error_key in its manifest" in one["what"]]
    assert [one["line"] for one in notes] == [11, 16]
    [name] = [what for what in found.values() if "host_logger" in what]
    assert name == "uses host_logger, which it neither defines nor imports"
    answered = [one["what"] for one in ended.document["notes"] if one["line"] == 23]
    assert answered[0].endswith("and a comment says why: the fit's own residuals")
    assert make_runner(path).run("divide", {"of": 6, "by": 3}) == (
        {"error": None, "quotient": 2.0},
        None,
    )
    _, error = make_runner(path).run("divide", {"of": 6, "by": 0})
    assert error is not None
    assert error["error"]["type"] == "ExecutionError"
    assert error["error"]["message"] == "division by zero"
    again = migrate(path)
    assert again.status == 1
    assert again.out.count("divide.py:") == len(found) + 1
    text = path.read_text()
    for line in ('return {"error": "by is missing", "code": 400}', "return result"):
        text = text.replace(line, "raise ValueError")
    text = text.replace('            result["error"] = str(exception)\n', "")
    text = text.replace("host_logger.exception", "print").replace("success=False, ", "")
    path.write_text(text)
    assert migrate(path).status == 0


NO_ERRORS = """\
class Plugin:
    def run(self, payload):
        opened = open("x", errors="replace")
        if payload:
            return {"error": None, "errors": [], "error_rate": 0.5, "ok": True, "status": "done"}
        return {"error": 0.25, "text": opened.read()}
"""


def test_what_only_looks_like_an_error_is_a_result(tmp_path: Path) -> None:
    """Empty errors, and figures of that name."""
    (tmp_path / "one.py").write_text(NO_ERRORS)
    assert migrate(tmp_path, "--json").document["by_hand"] == []


NAMES = """\
from __future__ import annotations
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from numpy import ndarray
try:
    import fast
except ImportError:
    fast = None
for EACH in range(2):
    pass
def set_it():
    global LATER
    LATER = 1
class Plugin:
    LIMIT = 3
    CELLS = [0 for _ in range(LIMIT)]
    def run(self, payload: ndarray) -> Result:
        x: Unheard = [y for y in (EACH, LATER, fast) if (z := y)]
        return {"x": x, "z": z, "file": __file__, "me": __class__.__name__}
"""


def test_names_that_are_there_are_not_said(tmp_path: Path) -> None:
    """However they come about; but those for type checkers are not there when the plugin runs."""
    path = tmp_path / "one.py"
    path.write_text(NAMES)
    assert migrate(path, "--json").document["by_hand"] == []
    path.write_text(NAMES.replace('"me"', '"n": ndarray, "me"'))
    [found] = migrate(path, "--json").document["by_hand"]
    assert found["what"] == "uses ndarray, which it neither defines nor imports"


def test_plugins_of_another_kind_are_named(tmp_path: Path) -> None:
    """Hooks, collected functions, tables, classes; and each call that goes past ToolRunner."""
    folder = sample("foreign", tmp_path)
    before = contents(folder)
    ended = migrate(folder, "--write")
    assert ended.status == 1
    for words in (
        "grep_log.py:9: hooks of another host: acme_setup, acme_line; write run(payload)",
        "functions.py:10: functions that another host collects: reverse, double; ",
        "table.py:10: functions in a table of another host: size, first; ",
        "table.py:21: classes without run, run_tool or analyze: CsvExport; ",
        "table.py:27: direct call TOOLS[name]['handler'](...)",
        "table.py:33: hands on plugin.run; write result, error = tool_runner.run(name, payload)",
        "table.py:37: hands on plugin.analyze; ",
        "table.py:38: fetches getattr(plugin, 'run'); ",
    ):
        assert words in ended.out
    assert ended.out.count("\n - ") == 8
    assert contents(folder) == before


@pytest.mark.parametrize("is_mixed", [False, True])
def test_entry_points_of_another_kind_are_named(tmp_path: Path, is_mixed: bool) -> None:
    """To do where they are all there is, and worth knowing beside plugins of ours."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "plugin.py").write_text(PLUGIN)
    (tmp_path / "other.py").write_text("def shout(text):\n    return text.upper()\n")
    text = '[project]\nname = "x"\n[project.entry-points."acme.plugins"]\nshout = "other:shout"\n'
    text += 'x = "pkg.plugin:Plugin"\n' if is_mixed else ""
    (tmp_path / "pyproject.toml").write_text(text)
    document = migrate(tmp_path, "--json").document
    said = document["notes" if is_mixed else "by_hand"]
    what = "shout = other:shout of the group acme.plugins is a plugin of another kind"
    assert [(one["line"], one["what"]) for one in said if "kind" in one["what"]] == [(4, what)]


def test_what_plugins_have_in_common_is_no_plugin(tmp_path: Path) -> None:
    """A Protocol, an abstract class, one whose methods have no body, and a base of others."""
    base = SAMPLES / "protocol_base" / "src" / "acme_words" / "base.py"
    shutil.copyfile(base, tmp_path / "base.py")
    protocol = PLUGIN.replace("Plugin", "WordPlugin(typing.Protocol[T])")
    (tmp_path / "protocol.py").write_text(protocol)
    assert migrate(tmp_path).out == "Phase 12 migration: nothing to do.\n"
    (tmp_path / "shared.py").write_text(PLUGIN.replace("Plugin", "AcmePlugin"))
    (tmp_path / "one.py").write_text(
        "from shared import AcmePlugin\n"
        "class One(AcmePlugin):\n    def run(self, payload):\n        return {'one': 1}\n"
    )
    assert list(migrate(tmp_path, "--json").document["plugins"]) == ["one"]


def test_bytes_by_use_reach_a_single_file_as_bytes(tmp_path: Path, make_runner: MakeRunner) -> None:
    """A table of tools in the code says no types at all."""
    tmp_path.chmod(0o755)
    path = tmp_path / "one.py"
    path.write_text(
        "import io\nclass Plugin:\n"
        "    tools = {'size': 'size', 'kind': 'kind'}\n"
        "    def run_tool(self, tool, args):\n        return getattr(self, tool)(**args)\n"
        "    def size(self, data):\n"
        "        raw = data\n        return {'n': len(io.BytesIO(raw).read())}\n"
        "    def kind(self, data):\n"
        "        return {'png': data[:4] == b'\\x89PNG'}\n"
    )
    assert migrate(path, "--write").status == 0
    tool_runner = make_runner(path)
    assert tool_runner.run("one:size", {"data": "AAAA"}) == ({"n": 3}, None)
    assert tool_runner.run("one:kind", {"data": "iVBORw=="}) == ({"png": True}, None)


def test_a_folder_of_folders_is_migrated_and_runs(tmp_path: Path, make_runner: MakeRunner) -> None:
    """Each plugin where it lies."""
    folder = sample("nested", tmp_path)
    assert migrate(folder, "--write").status == 0
    tool_runner = make_runner(folder / "vision", folder / "text")
    assert tool_runner.run("edges", PICTURE) == ({"bytes": len(PNG)}, None)
    assert tool_runner.run("upper", {"text": "a"}) == ({"text": "A"}, None)


ROOTS = {
    "setuptools": '[tool.setuptools.packages.find]\nwhere = ["lib"]\n',
    "hatch": '[tool.hatch.build.targets.wheel]\npackages = ["lib/pkg"]\n',
    "poetry": '[tool.poetry]\npackages = [{ include = "pkg", from = "lib" }]\n',
}


@pytest.mark.parametrize("tool", ROOTS)
def test_packages_may_lie_in_a_folder_of_any_name(tool: str, tmp_path: Path) -> None:
    """As each tool for building says it."""
    (tmp_path / "lib" / "pkg").mkdir(parents=True)
    (tmp_path / "lib" / "pkg" / "plugin.py").write_text(PLUGIN)
    text = '[project]\nname = "x"\n[project.entry-points."acme.plugins"]\n'
    (tmp_path / "pyproject.toml").write_text(f'{text}x = "pkg.plugin:Plugin"\n{ROOTS[tool]}')
    assert migrate(tmp_path, "--write").status == 0
    assert (tmp_path / "lib" / "pkg" / "toolrunner.toml").exists()
