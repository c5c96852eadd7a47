"""Bundles that somebody else has made: none of them reads a file outside of its folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.replay.bundle import (
    CALL,
    FILES,
    IMAGE,
    PAYLOAD,
    Bundle,
    BundleError,
    bundles_at,
)

SECRET = b"s" * 8


@pytest.fixture
def bundle(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
) -> Path:
    """The folder of one failed call, of a plugin that takes images or files."""
    kind = str(request.param)
    plugin = write_plugin("def run(payload): raise ValueError", input=kind)
    tool_runner = make_runner(plugin, keep_failures=tmp_path / "failures")
    image = {"image": SECRET, "mime_type": "image/png"}
    files = {"files": [{"name": "a", "mime_type": "image/png", "data": SECRET}]}
    tool_runner.run("sample", image if kind == "image" else files)
    [found] = bundles_at(tmp_path / "failures")
    return found


def linked(path: Path) -> None:
    """Put a link to the same content in the place of a file or folder."""
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def piped(path: Path) -> None:
    """Put a pipe in its place."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [linked, piped])
@pytest.mark.parametrize(
    ("bundle", "name"),
    [
        ("image", CALL),
        ("image", PAYLOAD),
        ("image", IMAGE),
        ("files", FILES),
        ("files", f"{FILES}/0"),
    ],
    indirect=["bundle"],
)
def test_what_is_no_file_of_its_own_is_not_read(
    change: Callable[[Path], None], bundle: Path, name: str
) -> None:
    """Nor waited for."""
    assert Bundle(bundle).payload()
    change(bundle / name)
    with pytest.raises(BundleError, match=r"lies in its folder|Not a directory"):
        Bundle(bundle).payload()
