"""``scripts/migrate_phase_12.py``: plugins of another host, migrated and then really run."""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
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


@pytest.mark.parametrize("shape", ["distribution"])
def test_a_migrated_distribution_can_be_installed(
    shape: str, sample: Path, make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wheel ships the manifest, and its entry point leads to the plugin."""
    migrate(sample, "--write")
    site = sample.parent / "site-packages"
    build = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(site)],
        cwd=sample,
        capture_output=True,
        check=True,
    )
    [wheel] = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    tool_runner = make_runner(allow_installed=["forgesyte-ledger"])
    _, name, [(payload, wanted)] = MIGRATED[shape]
    assert tool_runner.run(name, payload) == (wanted, None)


def test_payloads_that_a_tool_does_not_take_blame_the_caller(
    tmp_path: Path, make_runner: MakeRunner
) -> None:
    """What the metadata said of tools and their arguments is checked before anything runs."""
    tmp_path.chmod(0o755)
    folder = shutil.copytree(SAMPLES / "folder_manifest", tmp_path / "counter")
    migrate(folder, "--write")
    tool_runner = make_runner(folder)
    for payload in (
        {},
        {"tool": "paragraphs"},
        {"tool": "lines", "args": {}},
        {"tool": "letters", "args": {"text": "a", "most": 0}},
    ):
        _, error = tool_runner.run("counter", payload)
        assert error is not None
        assert error["error"]["type"] == "ValidationError", payload


def test_direct_calls_are_reported_and_left_alone(tmp_path: Path) -> None:
    """Each with its line and with what to write; what only looks like one is not."""
    folder = Path(shutil.copytree(SAMPLES / "code_base", tmp_path / "code"))
    before = contents(folder)
    ended = migrate(folder, "--write", "--json")
    assert ended.status == 1
    found = {
        (Path(one["path"]).name, one["line"]): one["instead"] for one in ended.document["by_hand"]
    }
    assert found.keys() == {
        ("service.py", 12),
        ("service.py", 13),
        ("service.py", 14),
        ("analyze.py", 5),
    }
    assert "tool_runner.run(name, payload)" in found["service.py", 12]
    assert '{"tool": tool, "args": args}' in found["service.py", 13]
    assert '"image": data' in found["analyze.py", 5]
    assert contents(folder) == before


def test_a_plugin_may_call_itself(tmp_path: Path) -> None:
    """All of a plugin's own code runs in the box."""
    text = "class Plugin:\n    def run(self, payload):\n        return {}\n\n"
    text += "def again(plugin):\n    return plugin.run({})\n"
    (tmp_path / "own.py").write_text(text)
    assert migrate(tmp_path, "--write").status == 0
    assert migrate(tmp_path).status == 0


# Files that need a person: what is in them, and what is said of which line.
BASE = "from app.plugins.base import BasePlugin\n"
BY_HAND = {
    "a constructor with arguments": (
        "class Plugin:\n    def __init__(self, model):\n        pass\n"
        "    def run(self, payload):\n        return {}\n",
        ":2: Plugin() needs model; give it defaults",
    ),
    "a function of the host": (
        "from app.core import settings\nclass Plugin:\n"
        "    def run(self, payload):\n        return settings()\n",
        ":1: uses app.core.settings of the host",
    ),
    "a module of the host": (
        "import app.models\nclass Plugin:\n    def run(self, payload):\n        return {}\n",
        ":1: imports the host's module app.models",
    ),
    "all names of a module of the host": (
        "from app.models import *\nclass Plugin:\n    def run(self, payload):\n        return {}\n",
        ":1: uses app.models.* of the host",
    ),
    "a decorator of the host": (
        "from app.registry import register\n@register\nclass Plugin:\n"
        "    def run(self, payload):\n        return {}\n",
        ":1: uses app.registry.register of the host",
    ),
    "an import that shares its line": (
        "import os; from app.plugins.base import BasePlugin\nclass Plugin(BasePlugin):\n"
        "    def run(self, payload):\n        return {}\n",
        ":1: imports from the host in a line with other statements",
    ),
    "an inherited attribute": (
        BASE + "class Plugin(BasePlugin):\n    def run(self, payload):\n"
        "        return {'x': self.settings}\n",
        ":4: self.settings comes from BasePlugin",
    ),
    "an inherited method": (
        BASE + "class Plugin(BasePlugin):\n    def run(self, payload):\n"
        "        return super().run(payload)\n",
        ":4: super().run comes from BasePlugin",
    ),
    "an image taken for base64": (
        "import base64\nclass Plugin:\n    def run(self, payload):\n"
        "        return {'n': len(base64.b64decode(payload['image']))}\n",
        ':3: run decodes payload["image"], which is bytes here; take the decoding away',
    ),
    "a name that the entry needs": (
        "def run(command):\n    return command\n\nclass EchoPlugin:\n"
        "    def analyze(self, image_bytes):\n        return {}\n",
        ":1: the name run is taken at the top level",
    ),
    "two plugins in a file": (
        "class OnePlugin:\n    def run(self, payload):\n        return {}\n"
        "class TwoPlugin:\n    def run(self, payload):\n        return {}\n",
        ":5: 2 plugins in one file",
    ),
    "tools that are called differently": (
        "class Plugin:\n    def run_tool(self, request):\n        return {}\n",
        ":2: run_tool takes something else than (tool, args)",
    ),
    "an argument that no payload has": (
        "class Plugin:\n    def analyze(self, image_bytes, session):\n        return {}\n",
        ":2: analyze needs session, which no payload has",
    ),
    "no plugin at all": ("x = 1\n", ":1: there is no plugin in this file"),
    "a syntax error": ("class Plugin:\n    def run(self payload)\n", ":2: not valid Python"),
    "a null byte": ("class Plugin:\n\0", "Python"),
    "too deep": ("x = " + "(" * 5000 + ")" * 5000, "Python"),
    "not UTF-8": ("#\n# caf\udce9\n", ":2: not UTF-8 text; save it as UTF-8"),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_what_needs_a_person_is_said_and_left_alone(tmp_path: Path, case: str) -> None:
    """With the line, and what to do; the file stays as it was, to the byte."""
    text, wanted = BY_HAND[case]
    path = tmp_path / "theirs.py"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = contents(tmp_path)
    ended = migrate(path, "--write")
    assert ended.status == 1
    assert wanted in ended.out
    assert contents(tmp_path) == before


# Folders that need a person: their files, and what is said.
PLUGIN = "class Plugin:\n    def run(self, payload):\n        return {}\n"
POINTS = '[project]\nname = "x"\n[project.entry-points."forgesyte.plugins"]\n'
BROKEN_FOLDERS = {
    "broken JSON": ({"manifest.json": "{\n,"}, "manifest.json:2: not valid JSON"),
    "an entrypoint that leads nowhere": (
        {"manifest.json": '{"entrypoint": "gone:Plugin"}'},
        "entrypoint 'gone:Plugin' leads to no module here",
    ),
    "broken TOML": ({"pyproject.toml": "[project\n"}, "pyproject.toml:1: cannot be parsed"),
    "an entry point that leads nowhere": (
        {"pyproject.toml": POINTS + 'x = "gone.plugin:Plugin"\n'},
        "the entry point x = gone.plugin:Plugin leads to no package here",
    ),
    "two entry points in a package": (
        {
            "pyproject.toml": POINTS + 'x = "pkg.plugin:Plugin"\ny = "pkg.plugin:Plugin"\n',
            "pkg/plugin.py": PLUGIN,
        },
        "several plugins share a package",
    ),
    "entry points in one line": (
        {
            "pyproject.toml": '[project]\nname = "x"\n'
            'entry-points = { "forgesyte.plugins" = { x = "pkg.plugin:Plugin" } }\n',
            "pkg/plugin.py": PLUGIN,
        },
        "written in a way that is not changed by machine",
    ),
    "package data of its own": (
        {
            "pyproject.toml": POINTS + 'x = "pkg.plugin:Plugin"\n'
            '[tool.setuptools.package-data]\npkg = ["*.bin"]\n',
            "pkg/plugin.py": PLUGIN,
        },
        'pyproject.toml:5: the package data of pkg do not have the manifest; add "toolrunner.toml"',
    ),
    "a program instead of metadata": (
        {"setup.py": "setup(\n  entry_points={'forgesyte.plugins': ['x = y:Z']})\n"},
        "setup.py:2: a program says which plugins",
    ),
    "two plugins that share a file": (
        {
            "one_plugin.py": f"import shared\n{PLUGIN}",
            "two_plugin.py": f"import shared\n{PLUGIN}",
            "shared.py": "",
        },
        "one_plugin.py:1: imports files beside it, and two_plugin.py there is a plugin, too",
    ),
    "a file in the adapter's place": (
        {"manifest.json": '{"tools": {}}', "plugin.py": PLUGIN.replace("run", "analyze"),
         "toolrunner_entry.py": "mine = 1\n"},
        "toolrunner_entry.py:1: a file of this name is there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_FOLDERS)
def test_folders_that_need_a_person_are_left_alone(tmp_path: Path, case: str) -> None:
    """All of a plugin's files are changed, or none."""
    files, wanted = BROKEN_FOLDERS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    ended = migrate(tmp_path, "--write")
    assert ended.status == 1
    assert wanted in ended.out
    assert contents(tmp_path) == before


def test_what_is_wrong_with_one_plugin_does_not_keep_others(tmp_path: Path) -> None:
    """Whoever can be migrated is."""
    (tmp_path / "bad.py").write_bytes(b"\xff")
    (tmp_path / "good.py").write_text(PLUGIN)
    ended = migrate(tmp_path, "--write")
    assert ended.status == 1
    assert "bad.py:1: not UTF-8" in ended.out
    assert "tool.toolrunner" in (tmp_path / "good.py").read_text()


def test_a_backup_is_never_overwritten(tmp_path: Path) -> None:
    """The next free name is taken."""
    path = tmp_path / "one.py"
    path.write_text(PLUGIN)
    (tmp_path / "one.py.orig").write_text("older")
    ended = migrate(path, "--write", "--json")
    assert (tmp_path / "one.py.orig").read_text() == "older"
    assert (tmp_path / "one.py.orig.1").read_text() == PLUGIN
    [change] = ended.document["changes"]
    assert change["backup"] == str(tmp_path / "one.py.orig.1")


def test_a_file_keeps_its_form(tmp_path: Path, make_runner: MakeRunner) -> None:
    """Byte order mark, line endings, first lines and mode stay; the manifest is found all the same."""
    tmp_path.chmod(0o755)
    path = tmp_path / "one.py"
    text = "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n" + PLUGIN
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    path.chmod(0o755)
    assert migrate(path, "--write").status == 0
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf#!/usr/bin/env python\r\n# -*- coding: utf-8 -*-\r\n\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.endswith(PLUGIN.replace("\n", "\r\n").encode())
    assert path.stat().st_mode & 0o777 == 0o755
    assert make_runner(path).run("one", {}) == ({}, None)


def test_a_block_that_is_there_is_extended(tmp_path: Path, make_runner: MakeRunner) -> None:
    """What a file says of its dependencies is not said again."""
    tmp_path.chmod(0o755)
    path = tmp_path / "one.py"
    path.write_text('# /// script\n# requires-python = ">=3.10"\n# ///\n' + PLUGIN)
    assert migrate(path, "--write").status == 0
    assert path.read_text().count("requires-python") == 1
    assert make_runner(path).run("one", {}) == ({}, None)


def test_imports_that_may_fail_are_left(tmp_path: Path, make_runner: MakeRunner) -> None:
    """A plugin that comes along without its host already stays as it is."""
    tmp_path.chmod(0o755)
    path = tmp_path / "one.py"
    own = "try:\n    from app.plugins.base import BasePlugin\n"
    own += "except ImportError:\n    class BasePlugin:\n        pass\n\n"
    path.write_text(own + PLUGIN.replace("Plugin:", "Plugin(BasePlugin):"))
    assert migrate(path, "--write").status == 0
    assert own in path.read_text()
    assert make_runner(path).run("one", {}) == ({}, None)


def test_a_host_of_another_name_can_be_named(tmp_path: Path, make_runner: MakeRunner) -> None:
    """Without that, its module counts as something that has to be installed."""
    tmp_path.chmod(0o755)
    path = tmp_path / "one.py"
    text = "from acme.results import Answer\n"
    text += PLUGIN.replace("{}", "Answer(fine=True)")
    path.write_text(text)
    assert "taken from its imports: acme" in migrate(path).out
    assert migrate(path, "--host", "acme", "--write").status == 0
    assert make_runner(path).run("one", {}) == ({"fine": True}, None)


def test_what_will_be_different_is_said(tmp_path: Path) -> None:
    """State between calls, the network, the environment, hooks that are never called."""
    (tmp_path / "one.py").write_text(
        "import os\nimport requests\nclass Plugin:\n"
        "    def __init__(self):\n        self.seen = 0\n"
        "    def analyze(self, image_bytes):\n        self.seen += 1\n"
        "        return [os.environ['KEY']]\n"
        "    def on_unload(self):\n        pass\n"
    )
    notes = {note["line"]: note["what"] for note in migrate(tmp_path, "--json").document["notes"]}
    assert "requests" in notes[1]
    assert "no network" in notes[2]
    assert "self.seen is set during a call" in notes[7]
    assert "the environment" in notes[8]
    assert "on_unload is never called" in notes[9]


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """As with a full disk: what was there stays, and nothing half is left behind."""
    path = tmp_path / "one.py"
    path.write_text(PLUGIN)
    before = contents(tmp_path)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path), "--write"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stdout
    assert contents(tmp_path) == before


def test_links_and_tests_are_not_looked_at(tmp_path: Path) -> None:
    """A link leads to what is somebody else's; a test may call a plugin as it likes."""
    (tmp_path / "code" / "tests").mkdir(parents=True)
    (tmp_path / "outside.py").write_text("plugin.run({})\n")
    (tmp_path / "code" / "link.py").symlink_to(tmp_path / "outside.py")
    (tmp_path / "code" / "test_one.py").write_text("plugin.run({})\n")
    (tmp_path / "code" / "tests" / "two.py").write_text("plugin.run({})\n")
    assert migrate(tmp_path / "code").status == 0
    assert migrate(tmp_path / "outside.py").status == 1


@pytest.mark.parametrize(
    "arguments", [("/no/such/path",), ("--write",), ("--wrong",), (str(ROOT / "README.md"),)]
)
def test_wrong_usage_has_a_status_of_its_own(arguments: tuple[str, ...]) -> None:
    """And changes nothing."""
    ended = migrate(*arguments)
    assert ended.status == 2
    assert ended.out == ""


def test_help_has_examples() -> None:
    """As a reader needs them: commands to copy."""
    ended = migrate("--help")
    assert ended.status == 0
    assert "python scripts/migrate_phase_12.py ../ocr --write" in ended.out


def test_this_project_passes() -> None:
    """With the documents' own line."""
    ended = migrate()
    assert ended.out == "Phase 12 migration check OK: no direct plugin.run() calls found.\n"
    assert ended.status == 0
    assert migrate("--json").document == {"ok": True, "problems": []}


# What a change to the project breaks: file, what stands there, what takes its place, what is said.
MUTANTS = {
    "a direct call": (
        "runner/services/analysis.py",
        "        return self._jobs.run_job(",
        "        plugin.run(payload)\n        return self._jobs.run_job(",
        "FAILED: direct plugin.run() calls found:\n - ",
    ),
    "a call of what a registry gives": (
        "api/commands.py",
        "\ndef ",
        "\ndef shortcut(registry):\n    return registry.get('ocr').run({})\n\n\ndef ",
        "direct call registry.get('ocr').run(...)",
    ),
    "no ToolRunner": (
        "runner/tool_runner.py", "class ToolRunner", "class Runner", "there is no class ToolRunner"
    ),
    "another signature": (
        "runner/tool_runner.py",
        "self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None\n"
        "    ) -> tuple[Result | None, Envelope | None]:\n        \"\"\"Run a plugin once; return",
        "self, plugin_name: str, *, call: Call | None = None\n"
        "    ) -> tuple[Result | None, Envelope | None]:\n        \"\"\"Run a plugin once; return",
        "ToolRunner.run() must accept (self, plugin_name, payload)",
    ),
    "metrics that are not recorded": (
        "runner/tool_runner.py",
        "self.registry.update_execution_metrics(",
        "print(",
        "update_execution_metrics() must be called inside ToolRunner.run()'s finally block",
    ),
    "a service that does not delegate": (
        "runner/services/analysis.py",
        "self._jobs.run_job(plugin_name, payload, call=call)",
        "{}, None",
        "AnalysisService must be given a JobManagementService and call it",
    ),
    "a service that skips one": (
        "runner/services/job_management.py",
        "plugins: PluginManagementService,",
        "plugins: ToolRunner,",
        "JobManagementService must be given a PluginManagementService and call it",
    ),
    "a registry without metrics": (
        "runner/registry.py",
        "def update_execution_metrics(",
        "def update_metrics(",
        "update_execution_metrics() must accept (self, plugin_name, state, elapsed_ms, had_error)",
    ),
    "a metric that is not shown": (
        "runner/plugin_state.py",
        "    error_count: int\n",
        "",
        "get_status() must show error_count",
    ),
    "a file that nobody can read": (
        "sandbox/box.py", "import ", "import import ", "box.py:"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MUTANTS)
def test_a_broken_project_fails(tmp_path: Path, case: str) -> None:
    """The script of a changed copy says what is wrong with it."""
    for name in ("api", "runner", "plugins", "sandbox", "scripts"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "samples")
        )
    file, old, new, wanted = MUTANTS[case]
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    script = tmp_path / "scripts" / "migrate_phase_12.py"
    ended = migrate(script=script)
    assert ended.status == 1
    assert ended.out.startswith("Phase 12 migration check FAILED: ")
    assert wanted in ended.out
    assert migrate("--json", script=script).document["ok"] is False
