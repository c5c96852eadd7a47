"""Room that is kept for an operator's commands: what ends an incident has to work on a full disk.

A few small files of the state folder, made by a server while there is room, and given up one by
one by a command that finds none: SQLite and a file that is renamed into place both need some. A
server makes them again once there is room.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from toolrunner.runner.state.database import is_full

FOLDER = "reserve"
# Several, as others may take what a command has freed, and there may be more than one command.
_PIECES = 8
_PIECE_BYTES = 64 << 10
# With less a command has too little: SQLite's index of a log takes 32 KiB, and a log some pages.
_LEAST_BYTES = 128 << 10
_LEAST_FILES = 4
# What has to be left for others when the reserve is made.
_OTHERS_BYTES = 1 << 20
T = TypeVar("T")


def keep_reserve(state: Path) -> None:
    """Make what is missing of it, if there is room; nothing is said where there is none."""
    with suppress(OSError):
        folder = state / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _fill(folder)
        finally:
            os.close(descriptor)


def _fill(folder: Path) -> None:
    for number in range(_PIECES):
        piece = folder / str(number)
        if piece.exists() and piece.stat().st_size == _PIECE_BYTES:
            continue
        if _lacks(folder, _OTHERS_BYTES + _PIECES * _PIECE_BYTES, _LEAST_FILES + _PIECES):
            return
        try:
            # What a file system could make smaller would be no room.
            piece.write_bytes(os.urandom(_PIECE_BYTES))
        except OSError:
            piece.unlink(missing_ok=True)
            raise


def is_short(state: Path) -> bool:
    """Whether the disk has less room than a command needs."""
    try:
        return _lacks(state, _LEAST_BYTES, _LEAST_FILES)
    except OSError:
        return False


def make_room(state: Path) -> None:
    """Give up as much of the reserve as a command needs, if the disk has less than that."""
    with suppress(OSError):
        while is_short(state) and _give_up(state):
            pass


def with_room(state: Path, step: Callable[[], T]) -> T:
    """Do an operator's step, on a full disk with the room that is kept for it.

    It must change all or nothing: where others are faster, it is done again with more room.
    """
    while True:
        make_room(state)
        try:
            return step()
        except (OSError, sqlite3.Error) as error:
            if not is_full(error) or not _give_up(state):
                raise


def _give_up(state: Path) -> bool:
    """Delete one piece, and tell whether there was one."""
    for number in range(_PIECES):
        with suppress(FileNotFoundError):
            (state / FOLDER / str(number)).unlink()
            return True
    return False


def _lacks(place: Path, least_bytes: int, least_files: int) -> bool:
    found = os.statvfs(place)
    has_few_files = bool(found.f_files) and found.f_favail < least_files
    return found.f_bavail * found.f_frsize < least_bytes or has_few_files
