"""Paths: what was checked is what is opened, and no other user leads it elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value
from toolrunner.runner.settings.settings import PluginSettings
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.paths import ForeignLinkError, find, open_file
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.sandbox import Sandbox

SOMEBODY = 12345
ROUNDS = 300
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link another user's")
READS = """
    def run(payload):
        try:
            return {"text": open(payload["path"]).read()}
        except OSError as error:
            return {"error": type(error).__name__}
"""


def _contents(path: Path | str) -> str:
    with os.fdopen(open_file(str(path))) as file:
        return file.read()


def _link_of_somebody(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.lchown(link, SOMEBODY, SOMEBODY)


def test_a_path_is_followed_as_the_kernel_does(tmp_path: Path) -> None:
    """Through links of one's own, absolute and relative, up and down; the end is a real path."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "file"
    file.write_text("here")
    (tmp_path / "relative").symlink_to("a/./b")
    (tmp_path / "a" / "absolute").symlink_to(tmp_path / "relative")
    path = f"{tmp_path}/a/../a/absolute//../b/file"
    found = find(path)
    assert (found.path, found.inode) == (os.path.realpath(path), file.stat().st_ino)
    assert _contents(path) == "here"
    assert find("/").path == "/"


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """Nothing waits for a pipe, or goes round in a loop of links."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, error in (("pipe", OSError), ("loop", OSError), ("none", FileNotFoundError)):
        with pytest.raises(error):
            open_file(str(tmp_path / name))
    with pytest.raises(IsADirectoryError):
        open_file(str(tmp_path))
    with pytest.raises(OSError, match="NUL"):
        find("a\0b")


@AS_ROOT
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    """As the last component and before it; one of root's is, whoever asks."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("here")
    _link_of_somebody(tmp_path / "link", tmp_path / "folder")
    _link_of_somebody(tmp_path / "folder" / "last", Path("file"))
    for path in (tmp_path / "link" / "file", tmp_path / "folder" / "last"):
        for ask in (find, open_file):
            with pytest.raises(ForeignLinkError, match=f"a link of user {SOMEBODY}"):
                ask(str(path))


@contextmanager
def _swapped(path: Path, other: Path) -> Iterator[None]:
    """Have ``path`` be, in turn and without pause, itself and a link to ``other``."""
    aside, link, stop = path.with_name("aside"), path.with_name("swap"), threading.Event()

    def swap() -> None:
        while not stop.is_set():
            _link_of_somebody(link, other) if os.geteuid() == 0 else link.symlink_to(other)
            os.rename(path, aside)
            os.rename(link, path)
            os.unlink(path)
            os.rename(aside, path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield
    finally:
        stop.set()
        swapper.join()


@AS_ROOT
def test_a_file_that_is_swapped_for_a_link_is_never_read_through_it(tmp_path: Path) -> None:
    """However often it is tried: either the file, or an error."""
    file, secret = tmp_path / "file", tmp_path / "secret"
    file.write_text("file")
    secret.write_text("secret")
    secret.chmod(0o600)
    read = set()
    with _swapped(file, secret):
        for _ in range(ROUNDS):
            try:
                read.add(_contents(file))
            except OSError as error:
                read.add(type(error).__name__)
    assert read <= {"file", "ForeignLinkError", "FileNotFoundError", "OSError"}


def _called(program: Program, layers: Layers, payload: bytes) -> tuple[str, str]:
    """Run a program once, cold; return why it could not be set up, and the reply."""
    with Sandbox(layers=layers) as sandbox:
        ending = sandbox.call(program, Limits(), Request("call", payload), start="cold")
    setup = "" if ending.setup is None else ending.setup.message
    return setup, repr(ending.reply)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_box_refuses_what_is_not_what_was_checked(
    open_folder: Path, layers: Layers, what: str
) -> None:
    """A folder or a file that was replaced after the check: nothing runs."""
    checked = open_folder / "models"
    for path, text in ((checked, "checked"), (open_folder / "other", "other")):
        if what == "folder":
            path.mkdir()
            path.chmod(0o755)
            (path / "text").write_text(text)
        else:
            path.write_text(text)
    found = find(str(checked))
    inner = str(checked / "text" if what == "folder" else checked)
    source = b"def run(payload):\n    return {'text': open(payload['path']).read()}\n"
    program = Program(
        "sample",
        str(open_folder / "sample.py"),
        source=source,
        read=(found.path,),
        found={found.path: (found.device, found.inode)},
    )
    payload = f'{{"path": "{inner}"}}'.encode()
    setup, reply = _called(program, layers, payload)
    assert (setup, "checked" in reply) == ("", True)
    checked.rename(open_folder / "aside")
    checked.symlink_to("other")
    setup, reply = _called(program, layers, payload)
    assert "is another file than the one that was checked" in setup
    assert reply == "None"


def test_links_that_a_deployment_swaps_are_followed(
    open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """As Kubernetes mounts a ConfigMap: the next call runs the new file."""
    for version in ("one", "two"):
        folder = open_folder / f"..{version}"
        folder.mkdir()
        text = write_plugin(f"def run(payload):\n    return {{'version': '{version}'}}\n")
        (folder / "plugin.py").write_bytes(text.read_bytes())
    (open_folder / "..data").symlink_to("..one")
    (open_folder / "plugin.py").symlink_to("..data/plugin.py")
    tool_runner = make_runner(open_folder / "plugin.py")
    assert value(tool_runner.run("sample", {})) == {"version": "one"}
    (open_folder / "..new").symlink_to("..two")
    (open_folder / "..new").rename(open_folder / "..data")
    (open_folder / "..one" / "plugin.py").unlink()
    assert value(tool_runner.run("sample", {})) == {"version": "two"}


@AS_ROOT
def test_a_plugin_that_becomes_another_users_link_is_refused(
    tmp_path: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its target is not read, and is not in the answer."""
    path = write_plugin("def run(payload):\n    return {}\n")
    secret = tmp_path / "secret"
    secret.write_text("root:secret")
    secret.chmod(0o600)
    tool_runner = make_runner(path)
    path.unlink()
    _link_of_somebody(path, secret)
    _result, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "PluginUnavailable"
    assert f"a link of user {SOMEBODY}" in error["error"]["message"]
    assert "root:secret" not in str(error)


def test_what_the_operator_grants_is_seen_by_its_name(
    open_folder: Path, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """By a link of theirs as by its target."""
    (open_folder / "real").mkdir(mode=0o755)
    (open_folder / "real" / "text").write_text("here")
    (open_folder / "link").symlink_to("real")
    own = {"sample": PluginSettings(read=(open_folder / "link",))}
    tool_runner = make_runner(write_plugin(READS), layers=layers, plugin=own)
    for name in ("link", "real"):
        answer = tool_runner.run("sample", {"path": str(open_folder / name / "text")})
        assert value(answer) == {"text": "here"}
