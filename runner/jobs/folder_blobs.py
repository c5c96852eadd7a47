"""Blobs as files below a folder: the state folder, or one that several machines have in common.

A file is written under another name, synced and renamed, and so is its folder's list of names.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from toolrunner.runner.jobs.blobs import Blob, BlobReader
from toolrunner.runner.jobs.payloads import copy_file
from toolrunner.runner.jobs.store import StoreError
from toolrunner.sandbox.input_files import InputFile

UNNAMED = ".part"
_LEAST_BYTES = 1 << 20  # a disk with less room takes no more jobs soon


class FolderBlobs:
    """Blobs below one folder; see ``Blobs`` for what each method does."""

    sweep_seconds = 0.0

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        """``kinds``: what stands before the ``/`` of names, each a folder below ``folder``."""
        self._folder = folder
        self._kinds = [folder / kind for kind in kinds]
        self.where = str(folder)

    def make(self) -> None:
        for path in self._kinds:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def check(self) -> None:
        self.make()
        check_disk(self._folder)

    def put(self, name: str, *parts: bytes) -> None:
        path = self._folder / name
        part = path.with_name(path.name + UNNAMED)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for data in parts:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            part.unlink(missing_ok=True)  # on a full disk, every byte counts
            raise
        finally:
            os.close(descriptor)
        part.rename(path)
        _sync(path.parent)

    def get(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def open(self, name: str) -> BlobReader:
        return _FileReader((self._folder / name).open("rb", buffering=0))

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def put_group(self, name: str, files: Sequence[InputFile]) -> list[str]:
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        digests = [copy_file(file, folder / str(number)) for number, file in enumerate(files)]
        _sync(folder)
        return digests

    def open_group(self, name: str, count: int) -> list[Path | BinaryIO]:
        folder = self._folder / name
        return [folder / str(number) for number in range(count)] if folder.is_dir() else []

    def group_bytes(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in (self._folder / name).iterdir())
        return 0

    def delete_group(self, name: str) -> None:
        folder = self._folder / name
        if folder.is_dir():
            shutil.rmtree(folder)

    def listed(self) -> Iterator[Blob]:
        for folder in filter(Path.is_dir, self._kinds):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    found = path.stat()
                    is_group = path.is_dir()
                    size = 0 if is_group else found.st_size
                    yield Blob(f"{folder.name}/{path.name}", found.st_mtime, size, is_group)


class _FileReader:
    """A file, which stays whole for who reads it, also when it is deleted."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.size_bytes = os.fstat(file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._file.close()


def check_disk(folder: Path) -> None:
    """Raise StoreError if the disk of a folder is full, or nearly."""
    space = os.statvfs(folder)
    if space.f_bavail * space.f_frsize < _LEAST_BYTES or (space.f_files and not space.f_favail):
        raise StoreError(errno.ENOSPC, full_words(folder))


def full_words(folder: Path | str) -> str:
    """Return what is said of a full disk."""
    return f"the disk of {folder} is full; make room there"


def _sync(path: Path) -> None:
    """Have the names in a folder outlive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
