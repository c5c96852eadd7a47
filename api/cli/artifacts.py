"""What becomes of the files that a call gave back: written below ``--out``, or told of alone.

Called when a call is shown. A name comes from a plugin and what lies in the folder from anybody: no
link is followed, and nothing is written outside of the folder.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolrunner.api.cli.exits import Refused
from toolrunner.plugins.errors import shown
from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.sandbox.artifacts import Artifact

_SUFFIX = ".artifacts"  # else the folder would have the name of the picture that it belongs to
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST)


@dataclass(frozen=True, slots=True)
class Kept:
    """An artifact of a call, and the file that it was written to, if it was."""

    info: ArtifactInfo
    file: str | None = None
    has_replaced: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {**self.info.document(), "file": self.file}


def told(artifacts: Sequence[Artifact]) -> tuple[Kept, ...]:
    """Return what is told of artifacts that are written nowhere."""
    return tuple(Kept(info_of(one)) for one in artifacts)


class ArtifactFolder:
    """The folder that ``--out`` names."""

    def __init__(self, path: str) -> None:
        """Make the folder if it is not there; raises Refused."""
        self._path = Path(path)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, _FOLDER))
            if not os.access(self._path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            message = f"--out {shown(path)} is no folder that can be used: {error.strerror}"
            raise Refused(message) from None

    def keep(self, artifacts: Sequence[Artifact], below: str = "") -> tuple[Kept, ...]:
        """Write artifacts, all of them or, after an error, none; raises Refused, and OSError.

        ``below`` is the file that they were made of: a path below the folder that it was found in.
        """
        if not artifacts:
            return ()
        parts = f"{below}{_SUFFIX}".split("/") if below else []
        with self._opened(parts) as (folder, path):
            pending = {one.name: f".{uuid.uuid4().hex}.part" for one in artifacts}
            try:
                for one in artifacts:
                    _write(folder, pending[one.name], one.data)
                return tuple(_named(folder, path, one, pending) for one in artifacts)
            except OSError as error:  # of a file whose name nobody knows, or of none
                raise OSError(error.errno, error.strerror, str(path)) from None
            finally:
                for part in pending.values():
                    with suppress(FileNotFoundError):
                        os.unlink(part, dir_fd=folder)

    @contextmanager
    def _opened(self, parts: Sequence[str]) -> Iterator[tuple[int, Path]]:
        """Yield a folder below this one, made if need be, and its path. It follows no link."""
        descriptor, path = os.open(self._path, _FOLDER), self._path
        try:
            for part in parts:
                path /= part
                descriptor = _entered(descriptor, part, path)
            yield descriptor, path
        finally:
            os.close(descriptor)


def _entered(folder: int, name: str, path: Path) -> int:
    """Return a folder in another one, which is closed, if it can be entered."""
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


def _named(folder: int, path: Path, artifact: Artifact, pending: dict[str, str]) -> Kept:
    """Give a file its name, in the place of what has it: a link there leads nowhere any more."""
    name = artifact.name
    assert "/" not in name  # the runner takes no others from a cell
    is_there = True
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        is_there = False
    try:
        os.rename(pending[name], name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        message = f"{shown(str(path / name))} is a folder where a file is to be written; move it"
        raise Refused(message) from None
    return Kept(info_of(artifact), str(path / name), is_there)
