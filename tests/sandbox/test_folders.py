"""Emptying a folder that a plugin has filled, and may still be changing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call
from toolrunner.sandbox.inside import folders
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.scratch import tree_bytes


def test_everything_goes(tmp_path: Path) -> None:
    """Files, links, FIFOs, folders without rights, names that are no text."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "a" / "link").symlink_to(outside)
    os.mkfifo(folder / "fifo")
    os.mkdir(os.fsencode(folder) + b"/\xff\n")
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    folders.empty_folder(str(folder))
    assert list(folder.iterdir()) == []
    assert (outside / "kept").read_text() == "x"


def test_depth_costs_nothing(tmp_path: Path) -> None:
    """Deeper than any path may be long, and than Python may recurse."""
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    folders.empty_folder(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_swapped_for_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    """Whatever the moment: what the link points to stays as it was."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    outside.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                (folder / "x").mkdir()
                (folder / "x" / "y").mkdir()
                (folder / "x").rename(folder / "z")
                (folder / "x").symlink_to(outside)
                (folder / "x").unlink()

    swapper = threading.Thread(target=swap)
    swapper.start()
    for _ in range(300):
        with contextlib.suppress(OSError):
            folders.empty_folder(str(folder))
    done.set()
    swapper.join()
    folders.empty_folder(str(folder))
    assert (outside / "kept").read_text() == "x"
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_link_is_no_folder_to_empty(tmp_path: Path) -> None:
    """Not even the one that is named."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(OSError, match="link"):
        folders.empty_folder(str(tmp_path / "link"))


PLANTER = r"""
import os, signal
victim = {victim!r}
base = os.path.dirname(os.path.dirname(os.getcwd()))
planted = []
def plant(*_):
    for slot in range(40):
        for name in (f"{{base}}/{{slot}}", f"{{base}}/{{slot}}/work", f"{{base}}/{{slot}}/more"):
            try:
                os.rename(name, name + ".away")
            except OSError:
                pass
            try:
                os.symlink(victim, name)
                planted.append(name)
            except OSError:
                pass
owner = os.getpid()
plant()
signal.signal(signal.SIGALRM, lambda *_: os.getpid() == owner and plant())
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
def run(payload):
    return {{"planted": len(planted)}}
"""


def test_an_import_cannot_have_the_cleaning_follow_its_links(
    tmp_path: Path, write_plugin: WritePlugin, make_runner: MakeRunner, no_namespaces: Layers
) -> None:
    """Where scratch lies on the host's disk, and its user may write to what they point to."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("x")
    victim.chmod(0o777)
    (victim / "kept").chmod(0o666)
    path = write_plugin(PLANTER.format(victim=str(victim)))
    tool_runner = make_runner(path, layers=no_namespaces)
    for _ in range(8):
        call = Call()
        tool_runner.run("sample", {}, call=call)
    tool_runner.close()
    assert [entry.name for entry in victim.iterdir()] == ["kept"]
    assert (victim / "kept").read_text() == "x"
    assert victim.stat().st_mode & 0o777 == 0o777


def test_measuring_follows_no_link_that_takes_a_folders_place(tmp_path: Path) -> None:
    """Code of a plugin runs while its files are measured, and may exchange names at any time."""
    libc = ctypes.CDLL(None)
    scratch, victim = tmp_path / "scratch", tmp_path / "victim"
    (victim / "inner").mkdir(parents=True)
    (victim / "inner/large").write_bytes(bytes(8 * MIB))
    (scratch / "folder/inner").mkdir(parents=True)
    (scratch / "link").symlink_to(victim)
    (scratch / "folder/inner").chmod(0)
    names = [os.fsencode(scratch / name) for name in ("folder", "link")]
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            libc.renameat2(-100, names[0], -100, names[1], 2)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        most = max(tree_bytes(str(scratch), 64 * MIB) for _ in range(3000))
    finally:
        stop.set()
        thread.join()
    assert most < MIB
    assert (victim / "inner").stat().st_mode & 0o777 == 0o755
