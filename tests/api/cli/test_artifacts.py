"""``--out``: where the files go that a plugin gives back, and what is told of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin
from toolrunner.api.cli.artifacts import ArtifactFolder
from toolrunner.api.cli.exits import Refused
from toolrunner.sandbox.artifacts import Artifact

FORK = multiprocessing.get_context("fork")

MAKES = """
    def run(payload, context):
        for name, text in payload["files"].items():
            context.artifact(name, text.encode())
        if payload.get("fail"):
            raise ValueError("after all")
        return {"made": len(payload["files"])}
"""


@pytest.fixture
def plugin(write_plugin: WritePlugin) -> Path:
    """A plugin that makes what it is asked for."""
    return write_plugin(MAKES)


def asking(files: dict[str, str], **more: object) -> str:
    """Return a payload that asks for some files."""
    return json.dumps({"files": files, **more})


def test_files_are_written_below_the_folder(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """It is made if need be; what is told of them has where they are."""
    payload = asking({"a.txt": "one", "B-2": "two"})
    ended = cli("--plugins", plugin, "run", "sample", "--payload", payload, "--out", "new/out")
    assert ended.status == 0, ended.err
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "a.txt text/plain 3 bytes new/out/a.txt" in lines[-2]
    assert "B-2 application/octet-stream 3 bytes new/out/B-2" in lines[-1]
    folder = tmp_path / "new/out"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a.txt": "one",
        "B-2": "two",
    }


def test_the_document_lists_them(cli: Cli, plugin: Path) -> None:
    """With digest and file; without --out there is no file, and the person is told how."""
    command = ("--plugins", plugin, "run", "sample", "--payload", asking({"a.txt": "one"}))
    shown = {
        "name": "a.txt",
        "mime_type": "text/plain",
        "bytes": 3,
        "sha256": hashlib.sha256(b"one").hexdigest(),
    }
    [document] = cli(*command, "--json", "--out", "out").documents
    assert document["artifacts"] == [{**shown, "file": "out/a.txt"}]
    [document] = cli(*command, "--json").documents
    assert document["artifacts"] == [{**shown, "file": None}]
    assert "--out DIR" in cli(*command).out


def test_what_is_replaced_is_named(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """Nothing is overwritten in silence, and nothing else is touched."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("old")
    (out / "other.txt").write_text("mine")
    payload = asking({"a.txt": "one", "b.txt": "two"})
    ended = cli("--plugins", plugin, "run", "sample", "--payload", payload, "--out", "out")
    assert ended.err == "replaced out/a.txt\n"
    assert (out / "a.txt").read_text() == "one"
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "b.txt", "other.txt"]
    assert (out / "other.txt").read_text() == "mine"


def test_a_link_is_replaced_and_never_followed(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """What it leads to stays as it was, and so does a file with a second name."""
    out, secret = tmp_path / "out", tmp_path / "secret"
    out.mkdir()
    secret.write_text("keep")
    (out / "a.txt").symlink_to(secret)
    (out / "b.txt").hardlink_to(secret)
    payload = asking({"a.txt": "one", "b.txt": "two"})
    ended = cli("--plugins", plugin, "run", "sample", "--payload", payload, "--out", "out")
    assert ended.err.splitlines() == ["replaced out/a.txt", "replaced out/b.txt"]
    assert secret.read_text() == "keep"
    assert not (out / "a.txt").is_symlink()
    assert (out / "a.txt").read_text() == "one"


def test_a_folder_in_the_way_is_told_of(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """It is not removed, nothing of the others is written, and the result is shown all the same."""
    (tmp_path / "out/b.txt").mkdir(parents=True)
    payload = asking({"a.txt": "x", "b.txt": "y"})
    given = ("--plugins", plugin, "run", "sample", "--payload", payload, "--out", "out")
    ended = cli(*given)
    assert ended.status == 2
    assert "out/b.txt is a folder where a file is to be written" in ended.err
    assert "made: 2" in ended.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.txt"]
    [document] = cli(*given, "--json").documents
    assert document["result"] == {"made": 2}
    assert [one["file"] for one in document["artifacts"]] == [None, None]


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_refused_before_the_call(
    cli: Cli, plugin: Path, tmp_path: Path, out: str
) -> None:
    """Nothing is run for nothing."""
    (tmp_path / "file").write_text("")
    ended = cli("--plugins", plugin, "run", "sample", "--payload", asking({}), "--out", out)
    assert (ended.status, ended.out) == (2, "")
    assert "--out" in ended.err


def test_a_disk_without_room_keeps_no_part(tmp_path: Path) -> None:
    """Neither the one that did not fit, nor those that did; it says where."""
    made = [Artifact("a", "x/y", b"a"), Artifact("b", "x/y", bytes(100_000))]

    def fail() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(OSError, match=r"File too large: .*photo\.jpg\.artifacts"):
            ArtifactFolder(str(tmp_path / "out")).keep(made, "deep/photo.jpg")

    process = FORK.Process(target=fail)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert list((tmp_path / "out/deep/photo.jpg.artifacts").iterdir()) == []


@pytest.mark.parametrize("linked", ["deep", "deep/photo.jpg.artifacts"])
def test_a_link_on_the_way_is_refused(tmp_path: Path, linked: str) -> None:
    """Nothing is written outside of the folder, and the link stays."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / linked).parent.mkdir(parents=True)
    (out / linked).symlink_to(elsewhere)
    with pytest.raises(Refused, match="move it away"):
        ArtifactFolder(str(out)).keep([Artifact("a", "x/y", b"a")], "deep/photo.jpg")
    assert list(elsewhere.iterdir()) == []
    assert (out / linked).is_symlink()


@pytest.mark.parametrize(
    "words",
    [
        ["run", "sample", "a.txt", "--out", "new/out"],
        ["run", "sample", "--payload", "[1]", "--out", "new/out"],
        ["run", "nosuch", "--out", "new/out"],
        ["analyze", "barcode", "empty", "--out", "new/out"],
    ],
)
def test_what_is_refused_makes_no_folder(
    words: list[str], cli: Cli, plugin: Path, tmp_path: Path
) -> None:
    """One that was there stays, empty or not."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    assert cli("--plugins", plugin, *words).status == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "new" / "out").mkdir(parents=True)
    assert cli("--plugins", plugin, *words).status == 2
    assert (tmp_path / "new" / "out").is_dir()


def test_a_call_that_fails_writes_nothing(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """Whatever it had made by then."""
    payload = asking({"a.txt": "x"}, fail=True)
    ended = cli(
        "--plugins", plugin, "run", "sample", "--payload", payload, "--out", "out", "--json"
    )
    assert ended.error["type"] == "ExecutionError"
    assert "artifacts" not in ended.documents[0]
    assert list((tmp_path / "out").iterdir()) == []
