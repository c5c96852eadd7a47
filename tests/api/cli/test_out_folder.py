"""``--out``: what is in the way, links on the way, and places that cannot meet."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin
from toolrunner.api.cli.answers import AnswerFolder
from toolrunner.api.cli.artifacts import ArtifactFolder
from toolrunner.sandbox.artifacts import Artifact

DRAWS = """
    def run(payload, context):
        context.artifact("first.txt", b"first")
        context.artifact("drawn.png", payload["image"])
        return {}
"""
FORGED = '{"plugin": "sample", "result": {"forged": true}}'
# As its artifact, a plugin gives what looks like its result for another picture.
FORGES = f"""
    def run(payload, context):
        context.artifact("q.png.json", {FORGED!r}.encode())
        return {{}}
"""


@pytest.fixture
def photos(tmp_path: Path, png: Path) -> Path:
    """A folder with pictures, and one in a folder in it."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for place in ("a.png", "b.png", "trip/c.png"):
        shutil.copy(png, folder / place)
    return folder


def found(folder: Path) -> list[str]:
    """Return the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("place", "is_folder", "left"),
    [
        ("trip", False, {"trip"}),
        (
            "trip/c.png.json",
            True,
            {"trip/c.png.artifacts/" + n for n in ("first.txt", "drawn.png")},
        ),
        ("trip/c.png.artifacts", False, {"trip/c.png.artifacts", "trip/c.png.json"}),
        ("trip/c.png.artifacts/drawn.png", True, {"trip/c.png.json"}),
    ],
)
def test_what_is_in_the_way_of_one_picture_is_an_error_of_that_one(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path, place: str, is_folder: bool, left: set[str]
) -> None:
    """The others are done; of its artifacts there are all or none, and it says what to move."""
    plugin = write_plugin(DRAWS, input="image")
    blocked = tmp_path / "out" / place
    blocked.parent.mkdir(parents=True)
    blocked.mkdir() if is_folder else blocked.touch()
    given = ["--plugins", plugin, "analyze", "sample", "photos", "-r", "--out", "out", "--json"]
    ended = cli(*given)
    assert ended.status == 2
    assert ended.err == "3 images: 2 done, 1 ValidationError\n"
    [error] = [one for one in ended.documents if "error" in one]
    assert error["file"] == "photos/trip/c.png"
    assert f"out/{place} is " in error["error"]["message"]
    assert "move it" in error["error"]["message"]
    others = {
        f"{name}.png.{end}"
        for name in "ab"
        for end in ("json", "artifacts/first.txt", "artifacts/drawn.png")
    }
    assert set(found(tmp_path / "out")) == others | left
    if "trip/c.png.json" in left:
        assert json.loads((tmp_path / "out/trip/c.png.json").read_text()) == error
    blocked.rmdir() if is_folder else blocked.unlink()
    ended = cli(*given, "--skip-existing")
    assert ended.status == 0
    assert ended.err.endswith("1 image: 1 done; 2 skipped, with a result already\n")


def test_what_the_host_refuses_for_one_picture_is_an_error_of_that_one(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    """It is the host's then, and the exit status the worst."""
    (photos / "trip").rename(photos / ("x" * 245 + ".artifacts"))  # one byte more has no room
    ended = cli("analyze", "image-info", "photos", "-r", "--out", "out")
    assert ended.status == 3
    assert ended.err.endswith("3 images: 2 done, 1 InternalError\n")
    assert "this host refused" in ended.err
    assert "File name too long" in ended.err
    assert found(tmp_path / "out") == ["a.png.json", "b.png.json"]


def test_an_error_that_cannot_be_written_is_told(
    cli: Cli, write_plugin: WritePlugin, photos: Path, tmp_path: Path
) -> None:
    """Beside what was in the way."""
    plugin = write_plugin("def run(payload): raise ValueError('of its own')", input="image")
    (tmp_path / "out/a.png.json").mkdir(parents=True)
    ended = cli("--plugins", plugin, "analyze", "sample", photos / "a.png", "--out", "out")
    assert ended.status == 2
    words = " ".join(ended.err.replace("|", " ").split())
    assert "is a folder where a file is to be written" in words
    assert "the call ended with ExecutionError: " in words
    assert "of its own" in words


@pytest.mark.parametrize("linked", ["trip", "trip/c.png.json"])
def test_no_result_is_written_or_believed_through_a_link(
    cli: Cli, photos: Path, tmp_path: Path, linked: str
) -> None:
    """What a link leads to stays as it was; one in a result's own place is replaced."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    believed = elsewhere / "c.png.json"
    believed.write_text('{"plugin": "image-info", "result": {}}')
    (out / linked).parent.mkdir(parents=True)
    (out / linked).symlink_to(elsewhere if linked == "trip" else believed)
    ended = cli("analyze", "image-info", photos, "-r", "--out", "out", "--skip-existing")
    assert "skipped" not in ended.err
    assert ended.status == (2 if linked == "trip" else 0)
    assert (out / "trip").is_symlink() == (linked == "trip")
    assert found(elsewhere) == ["c.png.json"]
    assert believed.read_text() == '{"plugin": "image-info", "result": {}}'


def test_a_name_that_can_be_guessed_is_not_written_through(tmp_path: Path) -> None:
    """Whoever writes in the folder too cannot have another file overwritten."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.mkdir()
    kept.write_text("keep")
    (out / f".a.png.json.{os.getpid()}").hardlink_to(kept)
    AnswerFolder(str(out)).write("a.png", {"plugin": "sample"})
    assert kept.read_text() == "keep"
    assert json.loads((out / "a.png.json").read_text()) == {"plugin": "sample"}


def test_a_pattern_leads_nowhere_outside_of_the_folder(
    cli: Cli, photos: Path, tmp_path: Path, png: Path
) -> None:
    """Though the pictures may lie outside of the folder that it begins in."""
    shutil.copy(png, photos.parent / "outside.png")
    ended = cli("analyze", "image-info", "photos/*/../../outside.png", "--out", "out/here")
    assert ended.status == 2
    assert found(tmp_path / "out") == []


def test_an_artifact_cannot_be_the_result_of_another_picture(
    cli: Cli, write_plugin: WritePlugin, png: Path, tmp_path: Path
) -> None:
    """However the folders of pictures are called."""
    plugin = write_plugin(FORGES, input="image")
    inner = tmp_path / "photos" / "p.png.artifacts" / "q.png"
    inner.parent.mkdir(parents=True)
    shutil.copy(png, inner)
    shutil.copy(png, tmp_path / "photos" / "p.png")
    given = ["--plugins", plugin, "analyze", "sample", "photos", "-r", "--out", "out"]
    assert cli(*given, "-j", "1").status == 0
    out = tmp_path / "out"
    assert found(out) == [
        "p.png.artifacts/q.png.json",
        "p.png.artifacts_/q.png.artifacts/q.png.json",
        "p.png.artifacts_/q.png.json",
        "p.png.json",
    ]
    assert (out / "p.png.artifacts/q.png.json").read_text() == FORGED
    assert json.loads((out / "p.png.artifacts_/q.png.json").read_text())["result"] == {}


def test_a_folder_may_be_called_as_a_result(
    cli: Cli, write_plugin: WritePlugin, png: Path, tmp_path: Path
) -> None:
    """Both are written."""
    inner = tmp_path / "photos" / "p.png.json" / "q.png"
    inner.parent.mkdir(parents=True)
    shutil.copy(png, inner)
    shutil.copy(png, tmp_path / "photos" / "p.png")
    plugin = write_plugin("def run(payload): return {}", input="image")
    given = ["--plugins", plugin, "analyze", "sample", "photos", "-r", "--out", "out"]
    assert cli(*given).status == 0
    assert found(tmp_path / "out") == ["p.png.json", "p.png.json_/q.png.json"]


def test_what_is_in_the_way_is_told_once(
    cli: Cli, write_plugin: WritePlugin, png: Path, tmp_path: Path
) -> None:
    """Though it is in the way of the artifacts and of the result."""
    (tmp_path / "photos" / "in").mkdir(parents=True)
    shutil.copy(png, tmp_path / "photos" / "in" / "p.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "in").write_text("a file")
    plugin = write_plugin(FORGES, input="image")
    given = ["--plugins", plugin, "--json", "analyze", "sample", "photos", "-r", "--out", "out"]
    ended = cli(*given)
    assert ended.status == 2
    [message] = [line["error"]["message"] for line in map(json.loads, ended.out.splitlines())]
    assert message.count("is no folder but stands where one is needed; move it away") == 1


@pytest.mark.parametrize("end", [".artifacts", ".ARTIFACTS", ".artifacts_", ".Artifacts__"])
def test_places_do_not_meet(tmp_path: Path, end: str) -> None:
    """Whether or not the file system sees a difference between cases."""
    forged = Artifact("q.png.json", "application/json", FORGED.encode())
    ArtifactFolder(str(tmp_path)).keep([forged], "p.png")
    assert not AnswerFolder(str(tmp_path)).has(f"p.png{end}/q.png", "sample")
    AnswerFolder(str(tmp_path)).write(f"p.png{end}/q.png", {"plugin": "sample", "result": {}})
    assert AnswerFolder(str(tmp_path)).has(f"p.png{end}/q.png", "sample")
    assert (tmp_path / f"p.png{end}_/q.png.json").is_file()
