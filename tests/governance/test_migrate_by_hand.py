"""What ``scripts/migrate_phase_12.py`` does not do itself, and says instead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies
from packaging.requirements import Requirement

from tests.governance.migrating import PLUGIN, ROOT, SAMPLES, contents, migrate
from toolrunner.plugins.manifest import read_toml


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
    assert 'f"{name}:{tool}", args' in found["service.py", 13]
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
        (
            "class Plugin:\n    def __init__(self, model):\n        pass\n"
            "    def run(self, payload):\n        return {}\n"
        ),
        ":2: Plugin() needs model; give it defaults",
    ),
    "a function of the host": (
        (
            "from app.core import settings\nclass Plugin:\n"
            "    def run(self, payload):\n        return settings()\n"
        ),
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
        (
            "from app.registry import register\n@register\nclass Plugin:\n"
            "    def run(self, payload):\n        return {}\n"
        ),
        ":1: uses app.registry.register of the host",
    ),
    "an import that shares its line": (
        (
            "import os; from app.plugins.base import BasePlugin\nclass Plugin(BasePlugin):\n"
            "    def run(self, payload):\n        return {}\n"
        ),
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
        (
            "import base64\nclass Plugin:\n    def run(self, payload):\n"
            "        return {'n': len(base64.b64decode(payload['image']))}\n"
        ),
        ':3: run decodes payload["image"], which is bytes here; take the decoding away',
    ),
    "a name that the entry needs": (
        (
            "def run(command):\n    return command\n\nclass EchoPlugin:\n"
            "    def analyze(self, image_bytes):\n        return {}\n"
        ),
        ":1: the name run is taken at the top level",
    ),
    "two plugins in a file": (
        (
            "class OnePlugin:\n    def run(self, payload):\n        return {}\n"
            "class TwoPlugin:\n    def run(self, payload):\n        return {}\n"
        ),
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
    "a broken block": (
        "# /// script\n# dependencies = [\n# ///\n" + PLUGIN,
        ":1: its script block is not valid TOML",
    ),
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
    "a package outside": (
        {
            "pyproject.toml": POINTS + 'x = "pkg.plugin:Plugin"\n'
            '[tool.setuptools.package-dir]\n"" = "../other"\n',
            "../other/pkg/plugin.py": PLUGIN,
        },
        "leads to no package here",
    ),
    "an entry point that is a path": (
        {"pyproject.toml": POINTS + 'x = "/etc:Plugin"\n'},
        "leads to no package here",
    ),
    "a program instead of metadata, of any host": (
        {"setup.py": "setup(\n  entry_points={'acme.plugins': ['x = y:Z']})\n"},
        "setup.py:2: a program says which plugins",
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
    folder = tmp_path / "one"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = contents(tmp_path)
    ended = migrate(folder, "--write")
    assert ended.status == 1
    assert wanted in ended.out
    assert contents(tmp_path) == before


def test_two_plugins_of_one_name_are_not_made(tmp_path: Path) -> None:
    """Used together, neither would run."""
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(PLUGIN.replace(":", ":\n    name = 'same'", 1))
    ended = migrate(tmp_path, "--write")
    assert ended.status == 1
    assert "b.py:1: the name same is another plugin's, too" in ended.out
    assert "tool.toolrunner" in (tmp_path / "a.py").read_text()
    assert "tool.toolrunner" not in (tmp_path / "b.py").read_text()


def test_the_file_that_runs_plugins_may(tmp_path: Path) -> None:
    """It runs inside the sandbox; a file of that name elsewhere does not."""
    worker = ROOT / "sandbox" / "inside" / "worker.py"
    assert migrate(worker.parent).status == 0
    (tmp_path / "worker.py").write_bytes(worker.read_bytes())
    out = migrate(tmp_path).out
    assert out.count("direct call plugin.run(...)") == 1
    assert out.count("hands on plugin.run;") == 1


def test_what_is_wrong_with_one_plugin_does_not_keep_others(tmp_path: Path) -> None:
    """Whoever can be migrated is."""
    (tmp_path / "bad.py").write_bytes(b"\xff")
    (tmp_path / "good.py").write_text(PLUGIN)
    ended = migrate(tmp_path, "--write")
    assert ended.status == 1
    assert "bad.py:1: not UTF-8" in ended.out
    assert "tool.toolrunner" in (tmp_path / "good.py").read_text()


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


TEXTS = strategies.text(max_size=8)
# What people write into the schema of an argument, whether it belongs there or not.
KEYWORDS = strategies.sampled_from(
    ["type", "properties", "required", "items", "enum", "min", "maximum", "minLength", "pattern",
     "default", "format", "title", "description", "$ref"]
)  # fmt: skip
VALUES = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-2, 2)
    | strategies.sampled_from([1 << 63, -1.5, float("nan"), float("inf")])
    | strategies.sampled_from(["string", "int", "array?", "file", "(", "\x7f", "\ud800", "a\nb"])
    | TEXTS
)
ARGUMENTS = strategies.recursive(
    VALUES,
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(KEYWORDS, inner, max_size=4)
        | strategies.dictionaries(TEXTS, inner, max_size=2)
    ),
    max_leaves=12,
)
INPUTS = strategies.dictionaries(
    TEXTS, strategies.dictionaries(KEYWORDS, ARGUMENTS, max_size=4), max_size=3
)
TOOLS = strategies.lists(
    strategies.fixed_dictionaries({"id": TEXTS, "inputs": INPUTS | ARGUMENTS}), max_size=3
)


@hypothesis.settings(
    max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(tools=TOOLS | ARGUMENTS, texts=strategies.lists(TEXTS, min_size=4, max_size=4))
def test_whatever_a_manifest_says_ours_is_legal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: object, texts: list[str]
) -> None:
    """Discovery reads what was made of it, and finds nothing wrong."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from migration.plan import plan

    keys = ("id", "version", "description", "dependencies")
    document: dict[str, Any] = dict(zip(keys, texts, strict=True))
    document |= {"tools": tools, "dependencies": texts}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    (tmp_path / "plugin.py").write_text(
        "class Plugin:\n    def run_tool(self, tool, args):\n        return {}\n"
    )
    for name in ("toolrunner.toml", "toolrunner_entry.py"):  # of the example before
        (tmp_path / name).unlink(missing_ok=True)
    [toml] = [one for one in plan(tmp_path).changes if one.path.suffix == ".toml"]
    toml.path.write_bytes(toml.after)
    (tmp_path / "toolrunner_entry.py").touch()
    assert read_toml(toml.path).input == "json"


@hypothesis.settings(
    max_examples=100, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(data=strategies.data())
def test_what_is_taken_for_a_requirement_is_one(
    monkeypatch: pytest.MonkeyPatch, data: strategies.DataObject
) -> None:
    """Discovery would refuse a plugin for a single one that is none."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from migration.metadata import REQUIREMENT

    Requirement(data.draw(strategies.from_regex(REQUIREMENT, fullmatch=True)))


@pytest.mark.parametrize(
    "text",
    ["numpy", "Pillow>=10.0.0", "x[a,b] >=1, <2", "y==1.*; python_version < '3.12'", "z~=1.2"],
)
def test_usual_requirements_are_taken_for_ones(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is left out has to be written by hand."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from migration.metadata import REQUIREMENT

    assert REQUIREMENT.fullmatch(text)
