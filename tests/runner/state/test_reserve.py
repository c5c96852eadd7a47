"""Room that is kept for an operator's commands; on a disk that is full, tests/faults/host."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from toolrunner.runner.state.reserve import FOLDER, keep_reserve, make_room, with_room

FORK = multiprocessing.get_context("fork")


def pieces(state: Path) -> list[int]:
    """Return the sizes of what there is."""
    return [path.stat().st_size for path in (state / FOLDER).iterdir()]


def test_it_is_made_once_and_made_whole_again(tmp_path: Path) -> None:
    """Also what a server that died has left half; where there is room nothing is given up."""
    keep_reserve(tmp_path)
    assert pieces(tmp_path) == [64 << 10] * 8
    before = (tmp_path / FOLDER / "0").read_bytes()
    (tmp_path / FOLDER / "1").write_bytes(b"half")
    (tmp_path / FOLDER / "7").unlink()
    keep_reserve(tmp_path)
    make_room(tmp_path)
    assert pieces(tmp_path) == [64 << 10] * 8
    assert (tmp_path / FOLDER / "0").read_bytes() == before


def test_many_processes_make_it_at_once(tmp_path: Path) -> None:
    """As the workers of a server do."""
    processes = [FORK.Process(target=keep_reserve, args=(tmp_path,)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert pieces(tmp_path) == [64 << 10] * 8


def test_a_step_that_finds_no_room_gets_ever_more(tmp_path: Path) -> None:
    """As under a quota, which the disk's own figures do not show; in the end it is refused."""
    keep_reserve(tmp_path)
    left: list[int] = []

    def step() -> str:
        left.append(len(pieces(tmp_path)))
        if left[-1] > 5:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return "done"

    assert with_room(tmp_path, step) == "done"
    assert left == [8, 7, 6, 5]

    def never() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        with_room(tmp_path, never)
    assert pieces(tmp_path) == []


def test_what_fails_for_another_reason_takes_nothing(tmp_path: Path) -> None:
    """It is raised as it is."""
    keep_reserve(tmp_path)

    def step() -> None:
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        with_room(tmp_path, step)
    assert len(pieces(tmp_path)) == 8


def test_without_a_place_nothing_happens(tmp_path: Path) -> None:
    """A state folder that cannot be used is told by what is kept there."""
    (tmp_path / "file").touch()
    keep_reserve(tmp_path / "file" / "state")
    make_room(tmp_path / "none")
    assert with_room(tmp_path / "none", lambda: 1) == 1
    assert not (tmp_path / "none").exists()
