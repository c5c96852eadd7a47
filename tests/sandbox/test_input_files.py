"""How a file of a call is copied: whole and as it was, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolrunner.sandbox.input_files import (
    PIECE_BYTES,
    ChangedError,
    InputFile,
    WithdrawnError,
    copy,
    look_at,
    start_of,
)

CONTENT = os.urandom(1 << 16) * 50 + b"end"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of several pieces."""
    path = tmp_path / "given"
    path.write_bytes(CONTENT)
    return path


def given(source: str | int) -> InputFile:
    """Return a file as it is now."""
    size, stamp = look_at(source)
    return InputFile("given", "text/plain", source, size, stamp)


def copied(file: InputFile, is_withdrawn: Callable[[], bool] = lambda: False) -> bytes:
    """Return what was copied."""
    with tempfile.TemporaryFile() as target:
        copy(file, target.fileno(), is_withdrawn)
        return os.pread(target.fileno(), 1 << 30, 0)


def refuse_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a kernel that does not copy between these two files."""

    def copy_file_range(*_: object) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)


@pytest.mark.parametrize("by_kernel", [True, False])
def test_all_of_it_is_copied(path: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool) -> None:
    """From bytes, a path and a descriptor, wherever that stands, which stays where it is."""
    if not by_kernel:
        refuse_to_copy(monkeypatch)
    assert copied(InputFile("given", "text/plain", CONTENT, len(CONTENT))) == CONTENT
    assert copied(given(str(path))) == CONTENT
    with path.open("rb") as opened:
        opened.seek(7)
        assert copied(given(opened.fileno())) == CONTENT
        assert opened.tell() == 7
    path.write_bytes(b"")
    assert copied(given(str(path))) == b""


def shorten(path: Path) -> None:
    """Take the end of a file away."""
    os.truncate(path, PIECE_BYTES + 1)


def lengthen(path: Path) -> None:
    """Add to a file."""
    with path.open("ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    """Write to the middle of a file, and have it look as before but for its time."""
    with path.open("r+b") as file:
        file.seek(PIECE_BYTES)
        file.write(b"other")
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def set_back(path: Path) -> None:
    """Write to a file, and have it look as before, its time too."""
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("change", [shorten, lengthen, overwrite, set_back])
def test_a_file_that_changes_while_it_is_copied_is_no_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], by_kernel: bool
) -> None:
    """Whatever part of it has been copied."""
    if not by_kernel:
        refuse_to_copy(monkeypatch)
    monkeypatch.setattr("toolrunner.sandbox.input_files._KERNEL_PIECE_BYTES", PIECE_BYTES)
    looks = 0

    def changing() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            change(path)
        return False

    with pytest.raises(ChangedError, match="'given' has changed since it was given"):
        copied(given(str(path)), changing)
    assert looks >= 2


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_call_that_is_withdrawn_copies_no_further(
    path: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    """However large the file is."""
    if not by_kernel:
        refuse_to_copy(monkeypatch)
    for file in (given(str(path)), InputFile("given", "text/plain", CONTENT, len(CONTENT))):
        with pytest.raises(WithdrawnError):
            copied(file, lambda: True)


def test_a_descriptor_that_is_another_files_by_now_is_no_copy(path: Path, tmp_path: Path) -> None:
    """Its number was closed meanwhile, and opened for something else."""
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    with path.open("rb") as opened:
        file = given(opened.fileno())
        with other.open("rb") as taken:
            os.dup2(taken.fileno(), opened.fileno())
        with pytest.raises(ChangedError):
            copied(file)


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_file_that_says_less_than_it_holds_is_no_copy(
    monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    """The kernel makes it up as it is read, and calls it empty."""
    if not by_kernel:
        refuse_to_copy(monkeypatch)
    file = given("/proc/self/status")
    assert file.size == 0
    with pytest.raises(
        ChangedError, match="holds more, and its size says 0: the kernel makes it up"
    ):
        copied(file)
    assert file.stamp is not None
    seen_before = replace(file, stamp=(0, *file.stamp[1:]))
    with pytest.raises(ChangedError, match="the kernel makes it up"):
        copied(seen_before)


def test_an_empty_file_that_was_written_to_is_no_copy(tmp_path: Path) -> None:
    """What it holds now agrees with its size, so it is none that the kernel makes up."""
    path = tmp_path / "empty"
    path.touch()
    file = given(str(path))
    path.write_bytes(CONTENT)
    with pytest.raises(ChangedError, match="it is another file, or was written to"):
        copied(file)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device without an end, a folder, what is not there."""
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "nothing"):
        with pytest.raises(OSError, match=r"."):
            look_at(str(source))
    reader, writer = os.pipe()
    wrong: list[Any] = [reader, writer]
    with (tmp_path / "written").open("wb") as opened:
        for number in (*wrong, opened.fileno()):
            with pytest.raises(OSError, match=r"."):
                look_at(number)
    for number in wrong:
        os.close(number)


def test_the_start_of_a_file_is_read_from_wherever_it_is(path: Path) -> None:
    """For who wants to know what it is."""
    with path.open("rb") as opened:
        for source in (CONTENT, str(path), opened.fileno()):
            assert start_of(source, 9) == CONTENT[:9]


def test_a_file_that_holds_less_than_it_says_has_not_changed() -> None:
    """The kernel says a page for each of /sys."""
    source = "/sys/kernel/mm/transparent_hugepage/enabled"
    with pytest.raises(ChangedError, match="the kernel makes it up as it is read; give a copy"):
        copied(given(source))
