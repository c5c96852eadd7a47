"""Folders with the files of calls: who may look into them, and how long they stay."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import WritePlugin
from toolrunner.sandbox.input_files import InputFile
from toolrunner.sandbox.input_folders import InputFolders, NotGivenError

ONE = InputFile("one.txt", "text/plain", b"text", 4)
KILLED = """
import os, signal, sys
from pathlib import Path
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings

plugin, state = sys.argv[1:]
settings = Settings.load(state=Path(state))
tool_runner = ToolRunner(PluginRegistry.discover([plugin], settings=settings), settings=settings)
call = Call(on_progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
tool_runner.run("sample", {"files": [{"name": "one.txt", "data": b"text"}]}, call=call)
"""


def left(state: Path) -> list[str]:
    """Return what is in a state folder's folder for files."""
    folder = state / "inputs"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_a_killed_runner_has_left_goes_with_the_next_start(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Whatever plugin that calls; what a living one has stays."""
    body = "import time\ndef run(p, context):\n    context.progress(0.5)\n    time.sleep(600)\n"
    path, state = write_plugin(body, input="files"), tmp_path / "state"
    ended = subprocess.run([sys.executable, "-P", "-c", KILLED, path, state], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert any(name.endswith("one.txt") for name in left(state))
    living = InputFolders(state).make(1, None, is_seen=True)
    living.give(0, [ONE], lambda: False)
    InputFolders(state).sweep()
    try:
        kept = {name.partition("/")[0] for name in left(state)}
        assert kept == {Path(living.folder).name}
        assert any(name.endswith("one.txt") for name in left(state))
    finally:
        living.close()
    assert left(state) == []


def test_a_fork_keeps_nothing_alive(tmp_path: Path) -> None:
    """Its copy of the lock would keep what its parent has left, when that is killed."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        made = InputFolders(tmp_path).make(1, None, is_seen=True)
        made.give(0, [ONE], lambda: False)
        if os.fork() == 0:
            made.close()  # what is the parent's is not its to remove
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    assert any(name.endswith("one.txt") for name in left(tmp_path))
    InputFolders(tmp_path).sweep()
    assert left(tmp_path) == []
    os.close(writer)
    os.close(reader)


def test_it_is_for_the_boxs_user_alone(tmp_path: Path) -> None:
    """A file of a call's is for nobody else on the host to read."""
    made = InputFolders(tmp_path).make(2, None, is_seen=True)
    given = made.give(1, [ONE], lambda: False)
    try:
        paths = [Path(made.folder), *Path(made.folder).rglob("*")]
        assert len(paths) == 5
        assert [oct(path.stat().st_mode & 0o077) for path in paths] == ["0o0"] * 5
    finally:
        given.close()
        made.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's boxes are another user")
def test_a_box_of_roots_reads_it_by_its_group(tmp_path: Path) -> None:
    """Its user owns nothing of it, and so can change no mode."""
    made = InputFolders(tmp_path).make(1, 61200, is_seen=True)
    given = made.give(0, [ONE], lambda: False)
    try:
        found = [path.stat() for path in (Path(made.folder), *Path(made.folder).rglob("*"))]
        assert {(one.st_uid, one.st_gid) for one in found} == {(0, 61200)}
        assert {oct(one.st_mode & 0o777) for one in found} == {"0o750", "0o440"}
    finally:
        given.close()
        made.close()


def test_what_could_not_be_removed_is_removed_before_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or there is none: nobody finds the files of another call."""
    made = InputFolders(tmp_path).make(1, None, is_seen=True)
    with monkeypatch.context() as patched:
        patched.setattr("toolrunner.sandbox.input_folders.remove_tree", lambda _folder: None)
        made.give(0, [ONE], lambda: False).close()
        assert any(name.endswith("one.txt") for name in left(tmp_path))
        with pytest.raises(NotGivenError) as caught:
            made.give(0, [], lambda: False)
        assert caught.value.ending.setup is not None
        assert made.folder in caught.value.ending.setup.operation
    given = made.give(0, [], lambda: False)
    assert not any(name.endswith("one.txt") for name in left(tmp_path))
    given.close()
    made.close()


def test_a_half_copied_set_is_nothing(tmp_path: Path) -> None:
    """When the second of two files cannot be copied, the first one goes too."""
    made = InputFolders(tmp_path).make(1, None, is_seen=True)
    gone = InputFile("two", "text/plain", str(tmp_path / "gone"), 4, (0, 0, 4, 0, 0))
    cases: list[Callable[[], bool]] = [lambda: False, lambda: True]
    for is_withdrawn in cases:
        with pytest.raises(NotGivenError) as caught:
            made.give(0, [ONE, gone], is_withdrawn)
        assert caught.value.ending.cancelled or "'two' has changed" in caught.value.ending.refused
        assert not any(name.endswith("one.txt") for name in left(tmp_path))
    made.close()


def test_another_place_is_used_where_the_state_is_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full, or that knows no locks."""
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(tmp_path / "state")):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = InputFolders(tmp_path / "state").make(1, None, is_seen=True)
    assert Path(made.folder).parent == tmp_path
    made.close()
    assert left(tmp_path / "state") == []
