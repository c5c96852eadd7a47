"""``scripts/migrate_phase_12.py``: plugins of another host, migrated and then really run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner
from tests.governance.migrating import (
    PICTURE,
    PLUGIN,
    PNG,
    ROOT,
    SAMPLES,
    SCRIPT,
    contents,
    migrate,
)
from toolrunner import Call


@pytest.fixture
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the sample that the test's parameter ``shape`` names."""
    shape = request.getfixturevalue("shape")
    # Readable by the user of a box, whoever runs the tests.
    tmp_path.chmod(0o755)
    return Path(shutil.copytree(SAMPLES / shape, tmp_path / shape, copy_function=shutil.copyfile))


# Each shape: what is a plugin once it has been migrated, its name, and calls with their results.
# What is sent to one of several tools is headed by that tool's name.
Sent = dict[str, Any] | tuple[str, dict[str, Any]]
Calls = list[tuple[Sent, dict[str, Any]]]
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
            (("add", {"a": 1, "b": 2}), {"sum": 3}),
            (("measure", PICTURE), {"bytes": len(PNG)}),
            (("words", {"text": "a b"}), {"result": ["a", "b"]}),
        ],
    ),
    "run_tool_chain": (
        "chain.py",
        "chain",
        [
            (("count", {"text": "a bc", "least": 2}), {"words": 1}),
            (("shout", {"text": "a", "times": 2}), {"text": "AA"}),
            (("cry", {"text": "a"}), {"text": "A"}),
        ],
    ),
    "manifest_words": (
        "",
        "words",
        [
            (
                ("join", {"items": ["a", "b"], "options": {"separator": "-"}, "most": 2}),
                {"joined": "a-b", "parts": ["a", "b"], "options": {"separator": "-"}},
            )
        ],
    ),
    "async_tools": (
        "waits.py",
        "waits",
        [
            (("wait", {"word": "x"}), {"word": "x", "ready": True}),
            (("now", {}), {"ready": True}),
            (("size", {"data": "AAAA"}), {"bytes": 3, "is_bytes": True}),
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
            (("letters", {"text": "aab", "most": 1}), {"letters": {"a": 2}}),
            (("lines", {"text": "one\ntwo"}), {"lines": 2}),
        ],
    ),
    "folder_siblings": ("", "scale", [({"number": 7}, {"scaled": 21})]),
    "package_manifest": ("", "package-style", [({"more": 4}, {"sum": 7})]),
    "distribution": (
        "src/forgesyte_ledger",
        "ledger",
        [(("total", {"amounts": [1, 2.5]}), {"total": 3.5, "currency": "EUR"})],
    ),
    "protocol_base": ("src/acme_words", "words", [({"text": "one two"}, {"words": 2})]),
    "bytes_as_string": (
        "",
        "frames",
        [
            (
                ("measure", {**PICTURE, "options": {"label": "x"}}),
                {"bytes": len(PNG), "label": "x"},
            ),
            (("digest", {"data": ""}), {"sha256": "e3b0c442"}),
            (("echo", {"frame": "AAAA"}), {"frame": "AAAA"}),
            (("decoded", {"picture": "AAAA"}), {"bytes": 3}),
        ],
    ),
    "frame_tools": (
        "frame_tracker",
        "frame-tracker",
        [
            (("find", PICTURE), {"detections": [0], "device": "cpu"}),
            (
                ("find", {**PICTURE, "options": {"device": "gpu"}}),
                {"detections": [0], "device": "gpu"},
            ),
            (("follow", PICTURE), {"frame": 1}),
            (("follow", PICTURE), {"frame": 1}),
            (
                ("follow_video", {"files": [{"name": "a.mp4", "data": b"\x00\xff" * 3}]}),
                {
                    "total_frames": 4,
                    "frames": [
                        {"frame_index": i, "detections": [1] if i < 3 else []} for i in range(4)
                    ],
                },
            ),
        ],
    ),
    "setup_cfg": (
        "forgesyte_shade",
        "shade",
        [(PICTURE, {"mean": sum(PNG) / len(PNG), "type": "image/png"})],
    ),
}
INSTALLED = {
    "distribution": "forgesyte-ledger",
    "protocol_base": "acme-words",
    "setup_cfg": "forgesyte-shade",
}
every_shape = pytest.mark.parametrize("shape", MIGRATED)


def called(name: str, sent: Sent) -> tuple[str, dict[str, Any]]:
    """Return what to call, and with what payload."""
    return (f"{name}:{sent[0]}", sent[1]) if isinstance(sent, tuple) else (name, sent)


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
    for sent, wanted in calls:
        result, error = tool_runner.run(*called(name, sent))
        assert error is None, error
        assert result == wanted


@every_shape
def test_a_migrated_plugin_passes_its_check(shape: str, sample: Path, tmp_path: Path) -> None:
    """``toolrunner plugins check`` finds nothing wrong: the sample call that was made up works."""
    migrate(named(shape, sample), "--write")
    plugin = sample / MIGRATED[shape][0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOOLRUNNER_STATE": str(tmp_path / "s")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "toolrunner", "plugins", "check", str(plugin)],
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


def test_the_output_ends_as_the_document_has_it(tmp_path: Path) -> None:
    """What was written, what is worth knowing, what to type next, and how much is left."""
    sample = SAMPLES / "run_tool_chain" / "chain.py"
    shutil.copy(sample, tmp_path / "chain.py")
    ended = migrate(tmp_path / "chain.py", "--write")
    document = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    shown = ended.out.replace(f"{tmp_path}/", "")
    assert f"\n```\n{shown}```\n" in document


def test_a_chain_that_is_not_understood_is_one_tool(tmp_path: Path) -> None:
    """Tools that are told apart in other ways are the plugin's own business: nothing is guessed."""
    text = (SAMPLES / "run_tool_chain" / "chain.py").read_text()
    text = text.replace('tool_name in ("shout", "cry")', 'tool_name.startswith("sh")')
    (tmp_path / "chain.py").write_text(text)
    assert migrate(tmp_path, "--write").status == 0
    written = (tmp_path / "chain.py").read_text()
    assert "tools." not in written
    assert 'payload["tool"]' in written


@pytest.mark.parametrize("shape", ["distribution", "protocol_base", "setup_cfg"])
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
    tool_runner = make_runner(allow_installed=[INSTALLED[shape]])
    _, name, [(sent, wanted)] = MIGRATED[shape]
    assert tool_runner.run(*called(name, sent)) == (wanted, None)


def test_payloads_that_a_tool_does_not_take_blame_the_caller(
    tmp_path: Path, make_runner: MakeRunner
) -> None:
    """What the metadata said of tools and their arguments is checked before anything runs."""
    tmp_path.chmod(0o755)
    folder = shutil.copytree(SAMPLES / "folder_manifest", tmp_path / "counter")
    migrate(folder, "--write")
    tool_runner = make_runner(folder)
    for name, payload, kind in (
        ("counter", {}, "PluginNotFound"),
        ("counter:paragraphs", {}, "PluginNotFound"),
        ("counter:lines", {}, "ValidationError"),
        ("counter:letters", {"text": "a", "most": 0}, "ValidationError"),
    ):
        _, error = tool_runner.run(name, payload)
        assert error is not None
        assert error["error"]["type"] == kind, payload


def test_what_a_host_of_frames_gives_its_tools_is_there(
    tmp_path: Path, make_runner: MakeRunner
) -> None:
    """Progress; an error in a result is an error; state from frame to frame is a resident's."""
    tmp_path.chmod(0o755)
    folder = shutil.copytree(SAMPLES / "frame_tools", tmp_path / "tools") / "frame_tracker"
    migrate(folder, "--write")
    tool_runner = make_runner(folder)
    heard: list[float] = []
    call = Call(on_progress=lambda fraction, _message: heard.append(fraction))
    video = {"files": [{"name": "a.mp4", "data": b"12345678"}]}
    _, error = tool_runner.run("frame-tracker:follow_video", video, call=call)
    assert error is None
    assert heard == [0.25, 0.5, 0.75, 1.0]
    other = {"image": b"text", "mime_type": "image/png"}
    _, error = tool_runner.run("frame-tracker:find", other)
    assert error is not None
    assert error["error"]["type"] == "ExecutionError"
    assert error["error"]["message"] == "image_decode_failed: no picture that is known here"
    manifest = folder / "toolrunner.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace("error_key", 'start = "resident"\nerror_key'))
    resident = make_runner(folder, allow_resident=["frame-tracker"])
    frames = [resident.run("frame-tracker:follow", PICTURE)[0] for _ in range(3)]
    assert frames == [{"frame": 1}, {"frame": 2}, {"frame": 3}]


def test_a_file_that_a_tool_writes_is_given_back(tmp_path: Path, make_runner: MakeRunner) -> None:
    """Its host named a path to write to; here it is an artifact."""
    tmp_path.chmod(0o755)
    path = tmp_path / "copies.py"
    path.write_text(
        "import shutil\n\n\nclass Plugin:\n    tools = {'copy': {'handler': 'copy'}}\n\n"
        "    def run_tool(self, tool, args):\n        return getattr(self, tool)(**args)\n\n"
        "    def copy(self, video_path: str, output_path: str):\n"
        "        shutil.copy(video_path, output_path)\n        return {'status': 'done'}\n"
    )
    assert migrate(path, "--write").status == 0
    call = Call()
    video = {"files": [{"name": "a.mp4", "data": b"12345678"}]}
    result, error = make_runner(path).run("copies:copy", video, call=call)
    assert error is None
    assert result["output"]["artifact"] == "output.mp4"
    assert [(one.name, one.data) for one in call.artifacts] == [("output.mp4", b"12345678")]


def test_only_our_kind_of_entry_points_is_added(tmp_path: Path) -> None:
    """Beside the old one; other programs have plugins, too, and other tools ship all files."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "plugin.py").write_text(PLUGIN)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "theirs.py").write_text("class Pages:\n    def on_page(self): ...\n")
    text = """\
[tool.poetry]
name = "x"
version = "7.1"

[tool.poetry.plugins."acme.plugins"]  # ours
x = 'pkg.plugin:Plugin'  # the plugin

[tool.poetry.plugins."mkdocs.plugins"]
pages = "pages.theirs:Pages"

[build-system]
build-backend = "poetry.core.masonry.api"
"""
    (tmp_path / "pyproject.toml").write_text(text)
    assert migrate(tmp_path, "--write").status == 0
    theirs = "x = 'pkg.plugin:Plugin'  # the plugin\n"
    ours = '\n[tool.poetry.plugins."toolrunner.plugins"]\nx = "pkg.toolrunner_entry:run"\n'
    added = text.replace(theirs, theirs + ours)
    assert (tmp_path / "pyproject.toml").read_text() == added
    assert 'version = "7.1"' in (tmp_path / "pkg" / "toolrunner.toml").read_text()
    assert migrate(tmp_path).status == 0


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
    """Byte order mark, line endings, first lines and mode stay, and it runs all the same."""
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


def test_what_has_changed_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an edit since the file was read, nor a file that somebody made in between."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from migration import writing
    from migration.findings import Change

    edited, made = tmp_path / "edited.py", tmp_path / "made.py"
    edited.write_text("newer")
    made.write_text("theirs")
    before = contents(tmp_path)
    for change in (Change(edited, b"older", b"ours"), Change(made, None, b"ours")):
        with pytest.raises(OSError, match="changed since it was read"):
            writing.write(change)
    assert contents(tmp_path) == before


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is migrated."""
    (tmp_path / "one.py").write_text(PLUGIN)
    (tmp_path / "link.py").symlink_to("one.py")
    assert migrate(tmp_path / "link.py", "--write").status == 0
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "one.py.orig").read_text() == PLUGIN


@pytest.mark.parametrize("name", [".", "../my-plugin"])
def test_a_folder_may_be_called_anything(
    tmp_path: Path, make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Even if no package can have that name."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "my-plugin"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "numbers_of.py").write_text("ONE = 1\n")
    (folder / "plugin.py").write_text(
        "from .numbers_of import ONE\n" + PLUGIN.replace("{}", "{'n': ONE}")
    )
    monkeypatch.chdir(folder)
    assert migrate(name, "--write").status == 0
    assert make_runner(folder).run("my-plugin", {}) == ({"n": 1}, None)


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
