"""The folder that ``--out`` names, and how files are written below it: whole, and through no link.

``artifacts`` and ``answers`` write there. A name comes from a plugin or from a picture, and what
lies in the folder from anybody: each folder is entered from the one before, by descriptor.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.inputs import Identity
from toolrunner.plugins.errors import shown

ARTIFACTS = ".artifacts"  # ends the name of the folder with the artifacts of one picture
RESULT = ".json"
# How no folder of pictures ends there. Case: as some file systems see names.
_TAKEN = re.compile(r"\.(artifacts|json)_*\Z", re.IGNORECASE)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_THERE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a file has been written, and whether in the place of another."""

    file: str
    has_replaced: bool


class OutFolder:
    """The folder, and what can be done below it."""

    def __init__(self, path: str) -> None:
        """Make the folder if it is not there; raises Refused."""
        self._path = Path(path)
        try:
            self._made = [one for one in (self._path, *self._path.parents) if not one.exists()]
            self._path.mkdir(parents=True, exist_ok=True)
            found = self._path.stat()
            if not os.access(self._path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            why = error.strerror if isinstance(error, OSError) else error
            message = f"--out {shown(path)}: {why}; name a folder, or one that can be made"
            raise Refused(message) from None
        self.identity: Identity = (found.st_dev, found.st_ino)

    def unmake(self) -> None:
        """Take away what was made for this folder alone, if nothing has come into it."""
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def put(self, files: Mapping[str, bytes], folders: Sequence[str]) -> dict[str, Written]:
        """Write files into a folder below this one; raises Refused, and OSError with a path.

        None gets its name before all are written and nothing is seen to be in the way of any.
        """
        with self._opened(folders) as (folder, path):
            pending = {name: f".{uuid.uuid4().hex}.part" for name in files}
            try:
                for name, data in files.items():
                    _write(folder, pending[name], data)
                there = {name: _is_there(folder, name, path) for name in files}
                for name, part in pending.items():  # a link there leads nowhere any more
                    os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                for part in pending.values():
                    with suppress(FileNotFoundError):
                        os.unlink(part, dir_fd=folder)
            return {name: Written(str(path / name), there[name]) for name in files}

    def start_of(self, name: str, folders: Sequence[str], size: int) -> bytes:
        """Return how a file begins; raises Refused, and OSError if it is not there."""
        with self._opened(folders, is_made=False) as (folder, _):
            descriptor = os.open(name, _THERE, dir_fd=folder)
            try:
                return os.read(descriptor, size)
            finally:
                os.close(descriptor)

    @contextmanager
    def _opened(
        self, folders: Sequence[str], *, is_made: bool = True
    ) -> Iterator[tuple[int, Path]]:
        """Yield a folder below this one, made if need be, and its path. It follows no link."""
        descriptor, path = os.open(self._path, _FOLDER), self._path
        try:
            for name in folders:
                path /= name
                descriptor = _entered(descriptor, name, path, is_made=is_made)
            yield descriptor, path
        except OSError as error:  # of a file whose name nobody knows, or of none
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(descriptor)


def place_of(below: str) -> tuple[list[str], str]:
    """Return the folders and the name below which what is written of a picture lies.

    No folder of pictures has a name there that a result or a folder of artifacts has: what a plugin
    calls an artifact can then never be where the result of another picture is, and no result where
    a folder is needed.
    """
    *folders, name = below.split("/")
    return [f"{one}_" if _TAKEN.search(one) else one for one in folders], name


def _entered(folder: int, name: str, path: Path, *, is_made: bool) -> int:
    """Return a folder in another one, which is closed, if it can be entered."""
    if name in {"", ".", ".."}:  # a pattern may lead out of the folder that it begins in
        message = f"{shown(str(path))} is not below the folder for results; name the file itself"
        raise Refused(message)
    if is_made:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
    try:
        inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        message = f"{shown(str(path))} is no folder but stands where one is needed; move it away"
        raise Refused(message) from None
    os.close(folder)
    return inner


def _write(folder: int, name: str, data: bytes) -> None:
    descriptor = os.open(name, _NEW, 0o666, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _is_there(folder: int, name: str, path: Path) -> bool:
    """Tell whether a file would be replaced; raises Refused for what cannot be."""
    assert "/" not in name  # the runner takes no others from a cell, and a file has none
    try:
        found = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        message = f"{shown(str(path / name))} is a folder where a file is to be written; move it"
        raise Refused(message)
    return True
