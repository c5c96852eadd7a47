"""``--out``: where the files go that a plugin gives back, and what is told of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

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
    """It is not removed, and no piece of anything is left."""
    (tmp_path / "out/a.txt").mkdir(parents=True)
    ended = cli(
        "--plugins", plugin, "run", "sample", "--payload", asking({"a.txt": "x"}), "--out", "out"
    )
    assert ended.status == 2
    assert "out/a.txt" in ended.err
    assert "is a folder" in ended.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_refused_before_the_call(
    cli: Cli, plugin: Path, tmp_path: Path, out: str
) -> None:
    """Nothing is run for nothing."""
    (tmp_path / "file").write_text("")
    ended = cli("--plugins", plugin, "run", "sample", "--payload", asking({}), "--out", out)
    assert (ended.status, ended.out) == (2, "")
    assert "--out" in ended.err


def test_a_call_that_fails_writes_nothing(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """Whatever it had made by then."""
    payload = asking({"a.txt": "x"}, fail=True)
    ended = cli(
        "--plugins", plugin, "run", "sample", "--payload", payload, "--out", "out", "--json"
    )
    assert ended.error["type"] == "ExecutionError"
    assert "artifacts" not in ended.documents[0]
    assert list((tmp_path / "out").iterdir()) == []
