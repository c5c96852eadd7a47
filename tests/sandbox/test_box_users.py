"""The users of root's boxes: one box's at a time, on the whole host."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox import box_users
from toolrunner.sandbox.box_users import BoxUsers
from toolrunner.sandbox.layers import Layers


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which locks are made, and no other."""
    monkeypatch.setattr(box_users, "PLACES", (str(tmp_path),))
    return tmp_path


def test_two_runners_have_no_user_in_common(places: Path) -> None:
    """Though both ask for the same; what one gives back the other may have."""
    del places
    first, second = BoxUsers(), BoxUsers()
    first._numbers, second._numbers = itertools.count(), itertools.count()
    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        held = [first.take(one) for _ in range(3)]
        beside = [second.take(other) for _ in range(3)]
        if os.geteuid() != 0:
            assert held == beside == [None] * 3
            return
        assert len({*held, *beside}) == 6
        one.close()
        second._numbers = itertools.count()
        assert [second.take(other) for _ in range(3)] == held


def test_a_user_is_a_boxs_as_long_as_it_runs(
    places: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Its lock is held while a call runs, and no more once the runner is closed."""
    tool_runner = make_runner(write_plugin("def run(payload): return {}\n"), layers=layers)
    assert tool_runner.run("sample", {}) == ({}, None)
    folder = places / box_users.FOLDER
    if os.geteuid() != 0:
        assert not folder.exists()
        return
    locks = list(folder.iterdir())
    assert [lock for lock in locks if not can_be_locked(lock)] != []
    tool_runner.close()
    assert [lock for lock in locks if not can_be_locked(lock)] == []


def can_be_locked(path: Path) -> bool:
    """Tell whether nobody holds a lock."""
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_folder_that_others_could_write_to_is_not_used(
    places: Path, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Who made it could take every user, or give one away: no box then."""
    folder = places / box_users.FOLDER
    folder.mkdir()
    folder.chmod(0o777)
    tool_runner = make_runner(write_plugin("def run(payload): return {}\n"), layers=host_layers)
    result, error = tool_runner.run("sample", {})
    if os.geteuid() != 0:
        assert (result, error) == ({}, None)
        return
    assert error is not None
    assert error["error"]["type"] == "SandboxError"
    assert "root's alone" in error["error"]["message"]
    assert box_users.REMEDY in error["error"]["message"]


def test_there_is_an_end_to_users(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in use: an error that says so, and no user twice."""
    del places
    monkeypatch.setattr(box_users, "BOX_UIDS", 4)
    users = BoxUsers()
    if os.geteuid() != 0:
        return
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            users._numbers = itertools.count()
            users.take(stack)
        users._numbers = itertools.count()
        with pytest.raises(OSError, match="in use"):
            users.take(stack)
