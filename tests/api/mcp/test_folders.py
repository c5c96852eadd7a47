"""Files by their paths: of the folders that a user has allowed, and of no other place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolrunner.api.mcp.arguments import payload_of
from toolrunner.api.mcp.folders import Folders
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import GovernedError

IMAGE = Manifest(name="looks", input="image")
FILES = Manifest(name="counts", input="files")
MOST = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and ways out of it, beside a secret."""
    folder = tmp_path / "allowed"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/a.txt").write_bytes(b"inside")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


def test_a_file_inside_is_read(folder: Path) -> None:
    """By its path from the folder, or from the root."""
    folders = Folders([str(folder)])
    for name in ("inner/a.txt", str(folder / "inner/a.txt"), "./inner/a.txt"):
        assert folders.read(name, MOST) == b"inside"
    payload = payload_of(IMAGE, {"path": "inner/a.txt", "mime_type": "image/png"}, folders, MOST)
    assert payload == {"image": b"inside", "mime_type": "image/png"}
    given = {"files": [{"path": "inner/a.txt"}, {"name": "b", "data": "YQ=="}]}
    assert payload_of(FILES, given, folders, MOST) == {
        "files": [{"name": "a.txt", "data": b"inside"}, {"name": "b", "data": "YQ=="}]
    }


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "inner/../../secret.txt",
        "link.txt",
        "out/secret.txt",
        "/etc/passwd",
        "inner",
        "pipe",
        "gone.txt",
        "",
        "a\0b",
        "/proc/self/environ",
    ],
)
def test_nothing_else_is(folder: Path, name: str) -> None:
    """No link is followed, and nothing is said of what lies outside."""
    folders = Folders([str(folder)])
    with pytest.raises(GovernedError) as refused:
        payload_of(IMAGE, {"path": name, "mime_type": "image/png"}, folders, MOST)
    assert "secret" not in str(refused.value).replace(name, "")


def test_what_lies_outside_is_told_so(folder: Path) -> None:
    """With the option that allows it; in the same words whether it is there or not."""
    folders = Folders([str(folder)])

    def told(path: Path) -> str:
        with pytest.raises(GovernedError) as refused:
            folders.read(str(path), MOST)
        return str(refused.value).replace(path.name, "NAME")

    there, gone = folder.parent / "secret.txt", folder.parent / "gone.txt"
    assert told(there) == told(gone)
    assert "outside of the folders that are allowed" in told(there)
    assert "toolrunner mcp --files DIR" in told(there)
    assert "there is no such file in" in told(folder / "gone.txt")
    assert "it is no file" in told(folder)


def test_no_more_is_read_than_a_plugin_takes(folder: Path) -> None:
    """Of several files all together."""
    folders = Folders([str(folder)])
    with pytest.raises(GovernedError, match="larger than"):
        folders.read("inner/a.txt", 5)
    given = {"files": [{"path": "inner/a.txt"}, {"path": "inner/a.txt", "name": "b"}]}
    with pytest.raises(GovernedError, match="larger than"):
        payload_of(FILES, given, folders, 10)


@pytest.mark.parametrize("folders", [None, Folders(())])
def test_without_a_folder_none_can_be_named(folders: Folders | None) -> None:
    """A path is an argument that nobody knows."""
    with pytest.raises(GovernedError, match="unknown argument 'path'"):
        payload_of(IMAGE, {"path": "/etc/passwd"}, folders, MOST)
    with pytest.raises(GovernedError, match="data in base64"):
        payload_of(FILES, {"files": [{"path": "/etc/passwd"}]}, folders, MOST)
    given = {"files": [{"path": "/etc/passwd", "data": "YQ=="}]}
    with pytest.raises(GovernedError, match="no file of the host can be named"):
        payload_of(FILES, given, folders, MOST)


def test_a_folder_has_to_be_there(tmp_path: Path) -> None:
    """It is looked at when it is allowed."""
    with pytest.raises(OSError, match="gone"):
        Folders([str(tmp_path / "gone")])
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError):
        Folders([str(file)])
