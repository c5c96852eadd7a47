"""What ``doctor --attack`` leaves for the page: whole, checked, and of this host."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolrunner.api.attack_report import FILE, MOST_CASES, keep, read, worst_first


@dataclass(frozen=True)
class Case:
    """One attack that has been made."""

    name: str
    outcome: str = "contained"
    layer: str = "seccomp"
    detail: str = ""


def test_what_is_kept_is_what_was_found(tmp_path: Path) -> None:
    """The worst first, in a file for its owner alone, and nothing beside it."""
    folder = tmp_path / "state"
    assert not folder.exists()
    keep(folder, [Case("fork_bomb"), Case("spy", "escaped", "", "saw <it>"), Case("a", "degraded")])
    report = read(folder)
    assert report is not None
    assert report.is_of_now
    assert report.at is not None
    assert [case.name for case in worst_first(report.cases)] == ["spy", "a", "fork_bomb"]
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_an_attack_that_is_made_alone_replaces_its_own_outcome(tmp_path: Path) -> None:
    """As long as the rest is of the same version and kernel."""
    keep(tmp_path, [Case("a"), Case("b", "escaped")])
    keep(tmp_path, [Case("b")])
    report = read(tmp_path)
    assert report is not None
    assert [(case.name, case.outcome) for case in report.cases] == [
        ("a", "contained"),
        ("b", "contained"),
    ]
    document = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**document, "kernel": "5.10 another"}))
    before = read(tmp_path)
    assert before is not None
    assert not before.is_of_now
    keep(tmp_path, [Case("c")])
    report = read(tmp_path)
    assert report is not None
    assert [case.name for case in report.cases] == ["c"]


def test_a_report_is_bounded(tmp_path: Path) -> None:
    """Whatever attacks say of themselves."""
    many = [Case(f"{number}-" + "x" * 500, detail="y" * 9) for number in range(MOST_CASES + 5)]
    many[-1] = Case("last", detail="\x1b" * 5000)
    keep(tmp_path, many)
    report = read(tmp_path)
    assert report is not None
    assert len(report.cases) == MOST_CASES
    assert "\x1b" not in report.model_dump_json()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": 2}',
        json.dumps(
            {"format": 1, "version": "1", "kernel": "6", "host": "h", "cases": [1]}
        ).encode(),
        b" " * (5 << 20),
    ],
)
def test_a_file_of_no_use_is_said_to_be(content: bytes, tmp_path: Path) -> None:
    """And the next report takes its place."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(OSError, match="make a new one"):
        read(tmp_path)
    keep(tmp_path, [Case("a")])
    assert read(tmp_path) is not None


def test_no_link_and_no_pipe_is_followed(tmp_path: Path) -> None:
    """Nobody waits for one, and no other file is read."""
    (tmp_path / "else").write_text("{}")
    (tmp_path / FILE).symlink_to(tmp_path / "else")
    with pytest.raises(OSError, match="symbolic links"):
        read(tmp_path)
    keep(tmp_path, [Case("a")])
    assert (tmp_path / "else").read_text() == "{}"
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(OSError, match="no ordinary file"):
        read(tmp_path)
