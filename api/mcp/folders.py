"""Files of this host that an agent may name by their paths: those in folders that a user allows.

For the door whose user's own machine this is. Who names a path is a model, which may have been told
to by anything that it has read: so without an allowed folder there is none, nothing outside can be
named, and no link is followed, neither in a folder nor out of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from toolrunner.plugins.errors import shown
from toolrunner.runner.errors import ErrorType, GovernedError

_STEP = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
# A pipe would keep its reader waiting; it is refused once it can be seen what it is.
_LAST = _STEP | os.O_NONBLOCK | os.O_NOCTTY
_PIECE_BYTES = 1 << 20


class Folders:
    """The folders that files may be read from."""

    def __init__(self, names: Sequence[str]) -> None:
        """Raises OSError for one that is no folder."""
        self._roots = tuple(Path(name).resolve(strict=True) for name in names)
        for root in self._roots:
            os.close(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def __bool__(self) -> bool:
        return bool(self._roots)

    def read(self, given: str, most_bytes: int) -> bytes:
        """Return what is in a file, by its path in one of the folders, or from the root.

        Raises GovernedError for one that may not be read, or is larger.
        """
        data = self._found(given, most_bytes)
        if data is None:
            _refuse(given, f"there is no such file in {self._words()}")
        return data

    def _insist_on_inside(self, given: str) -> None:
        """Refuse what lies elsewhere by its words alone: nobody hears whether it is there."""
        if all(_below(root, given) is None for root in self._roots):
            why = f"it lies outside of the folders that are allowed, {self._words()}"
            _refuse(given, f"{why}; the user allows another with toolrunner mcp --files DIR")

    def _found(self, given: str, most_bytes: int) -> bytes | None:
        steps = Path(given).parts
        if "\0" in given or ".." in steps or not steps:
            _refuse(given, "write a path without ..")
        self._insist_on_inside(given)
        for root in self._roots:
            inside = _below(root, given)
            if inside is None:
                continue
            try:
                return _read(root, inside, given, most_bytes)
            except FileNotFoundError:
                continue
            except OSError as error:
                _refuse(given, f"it cannot be read: {error.strerror}; links are not followed")
        return None

    def _words(self) -> str:
        return " or ".join(shown(str(root)) for root in self._roots)


def _below(root: Path, given: str) -> tuple[str, ...] | None:
    """Return the steps from a folder to a path, ``None`` if it leads elsewhere."""
    path = Path(given)
    if path.is_absolute():
        if not path.is_relative_to(root):
            return None
        path = path.relative_to(root)
    return path.parts


def _read(root: Path, steps: tuple[str, ...], given: str, most_bytes: int) -> bytes:
    descriptor = os.open(root, _STEP | os.O_DIRECTORY)
    try:
        for number, step in enumerate(steps, 1):
            flags = _LAST if number == len(steps) else _STEP | os.O_DIRECTORY
            below = os.open(step, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            _refuse(given, "it is no file")
        data = _all_of(descriptor, most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        _refuse(given, f"it is larger than {most_bytes / (1 << 20):g} MiB, the most that is taken")
    return data


def _all_of(descriptor: int, most_bytes: int) -> bytes:
    pieces, left = [], most_bytes
    while left and (piece := os.read(descriptor, min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _refuse(given: str, why: str) -> NoReturn:
    message = f"path {shown(given[:200])}: {why}"
    raise GovernedError(ErrorType.VALIDATION_ERROR, message) from None
