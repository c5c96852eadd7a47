"""The files that a call is given: what is known of each before it runs, and how each is copied.

A file's bytes never come into the runner's memory at once: the kernel copies them, or they go in
pieces. Whoever has changed one since it was looked at is told so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

PIECE_BYTES = 1 << 20  # the most that is in the runner's memory at once
_KERNEL_PIECE_BYTES = 1 << 25  # between two looks at whether the call was withdrawn
# What the kernel says where it does not copy between two files by itself.
_NOT_HERE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
)

_OTHER = "it is another file, or was written to or changed otherwise"

Stamp = tuple[int, int, int, int, int]


class ChangedError(Exception):
    """A file is another one than the one that was looked at."""


class WithdrawnError(Exception):
    """The call was withdrawn while its files were copied."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a call: its bytes, a path of the caller's, or a descriptor that stays open.

    ``stamp``: what the file was when its ``size`` was looked at; ``None`` for bytes.
    """

    name: str
    mime_type: str
    source: bytes | str | int
    size: int
    stamp: Stamp | None = None


def look_at(source: str | int) -> tuple[int, Stamp]:
    """Return the size of a file and what it is; ``OSError`` if it is no regular file."""
    with _opened(source) as descriptor:
        os.pread(descriptor, 0, 0)  # one that is open for writing alone is no use
        found = os.fstat(descriptor)
    return found.st_size, _stamp(found)


def start_of(source: bytes | str | int, most: int) -> bytes:
    """Return the first bytes of a file; ``OSError`` if it cannot be read."""
    if isinstance(source, bytes):
        return source[:most]
    with _opened(source) as descriptor:
        return os.pread(descriptor, most, 0)


def copy(file: InputFile, target: int, is_withdrawn: Callable[[], bool]) -> None:
    """Write a file's bytes to a descriptor; raise ``ChangedError`` if they are not what they were.

    ``OSError`` is the target's alone.
    """
    if isinstance(file.source, bytes):
        view = memoryview(file.source)
        while view:
            _check(is_withdrawn)
            view = view[os.write(target, view[:PIECE_BYTES]) :]
        return
    try:
        opening = _opened(file.source)
        source = opening.__enter__()
    except OSError as error:
        _changed(file, f"it cannot be opened any more ({error.strerror})")
    try:
        _copy_unchanged(file, source, target, is_withdrawn)
    finally:
        opening.__exit__(None, None, None)


def _copy_unchanged(
    file: InputFile, source: int, target: int, is_withdrawn: Callable[[], bool]
) -> None:
    if file.size == 0 and _holds_more_than_its_size(file, source):
        _made_up(file, "more")  # as those of /proc, which also look as if they changed
    _check_same(file, source)
    done = 0
    by_kernel = hasattr(os, "copy_file_range")
    while done < file.size:
        _check(is_withdrawn)
        left = file.size - done
        try:
            if by_kernel:
                most = min(left, _KERNEL_PIECE_BYTES)
                copied = os.copy_file_range(source, target, most, done, done)
            else:
                copied = _copy_piece(file, source, target, min(left, PIECE_BYTES), done)
        except OSError as error:
            if not by_kernel or error.errno not in _NOT_HERE:
                raise
            by_kernel = False
            continue
        if copied == 0:
            if _stamp(os.fstat(source)) == file.stamp:  # as those of /sys
                _made_up(file, f"{done} bytes")
            _changed(file, "it has become smaller")
        done += copied
    _check_same(file, source)
    if _read(file, source, 1, file.size):
        _check_same(file, source)
        _made_up(file, "more")


def _copy_piece(file: InputFile, source: int, target: int, most: int, offset: int) -> int:
    piece = _read(file, source, most, offset)
    view = memoryview(piece)
    while view:
        written = os.pwrite(target, view, offset)
        offset += written
        view = view[written:]
    return len(piece)


def _read(file: InputFile, source: int, most: int, offset: int) -> bytes:
    try:
        return os.pread(source, most, offset)
    except OSError as error:
        _changed(file, f"it cannot be read any more ({error.strerror})")


def _check(is_withdrawn: Callable[[], bool]) -> None:
    if is_withdrawn():
        raise WithdrawnError


def _check_same(file: InputFile, source: int) -> None:
    if _stamp(os.fstat(source)) != file.stamp:
        _changed(file, _OTHER)


def _holds_more_than_its_size(file: InputFile, source: int) -> bool:
    size = os.fstat(source).st_size
    return bool(_read(file, source, 1, size)) and os.fstat(source).st_size == size


def _made_up(file: InputFile, holds: str) -> NoReturn:
    message = (
        f"the file {file.name!r} holds {holds}, and its size says {file.size}: "
        "the kernel makes it up as it is read; give a copy of it, or its bytes"
    )
    raise ChangedError(message)


def _changed(file: InputFile, what: str) -> NoReturn:
    message = f"the file {file.name!r} has changed since it was given: {what}; give it again"
    raise ChangedError(message) from None


def _stamp(found: os.stat_result) -> Stamp:
    # The time of the last change cannot be set back, as that of the last write can.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def _opened(source: str | int) -> Iterator[int]:
    """Open a regular file, without waiting for what is none; a descriptor is not closed."""
    if isinstance(source, int):
        _check_regular(source)
        yield source
        return
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check_regular(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_regular(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
