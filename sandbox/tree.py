"""Takes over what was made in a box: copies a tree of files, and believes nothing of it.

The processes that made it have ended. Still every step goes by a descriptor and a name in it, no
link is followed, and what is not an ordinary file or folder is refused.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolrunner.sandbox.inside.folders import FOLDER

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_DEPTH = 64
_MOST_FILES = 500_000
_PROGRAMS = (b"\x7fELF", b"#!")
_LEFT_BEHIND = frozenset({".lock", "uv_cache.json"})  # uv's own notes


class HostileTreeError(Exception):
    """There is something in a tree that does not belong in one; the text says what and where."""


@dataclass(slots=True)
class Copied:
    """What was taken over: the bytes of each file, by its path below the folder, and of all."""

    sizes: dict[str, int] = field(default_factory=dict)
    folders: int = 0
    bytes: int = 0


def copy_tree(source: str, target: str, *, owner: int, most_bytes: int) -> Copied:
    """Copy a folder's content into a new folder, whose files nobody may write to.

    All of it has to be ``owner``'s. ``HostileTreeError`` for anything that is not a file or a
    folder, and beyond ``most_bytes``. Times stay: compiled modules go by them.
    """
    copied = Copied()
    try:
        opened = os.open(source, os.O_RDONLY | FOLDER)
    except (NotADirectoryError, PermissionError):  # a link as well, to no folder and to one
        message = "it is no folder, or one that cannot be read"
        raise HostileTreeError(message) from None
    try:
        os.mkdir(target, 0o700)
        made = os.open(target, os.O_RDONLY | FOLDER)
        try:
            _Copy(copied, owner, most_bytes).folder(opened, made, "", _MOST_DEPTH)
        finally:
            os.close(made)
    finally:
        os.close(opened)
    return copied


@dataclass(frozen=True, slots=True)
class _Copy:
    copied: Copied
    owner: int
    most_bytes: int

    def folder(self, source: int, target: int, path: str, depth: int) -> None:
        if depth == 0:
            message = f"folders lie too deep in one another: {path[:200]!r}"
            raise HostileTreeError(message)
        for entry in _entries(source):
            name = entry.name
            inner = f"{path}/{name}" if path else name
            if name in _LEFT_BEHIND:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    self._folder_in(source, target, name, inner, depth)
                else:
                    self._file_in(source, target, name, inner)
            except OSError as error:
                if error.errno == errno.EACCES:
                    message = f"{inner[:200]!r} has modes that keep it from being read"
                    raise HostileTreeError(message) from None
                if error.errno not in {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.ENODEV}:
                    raise
                raise _refused(inner) from None
        os.fchmod(target, 0o555)

    def _folder_in(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        self._count(path)
        from_here = os.open(name, os.O_RDONLY | FOLDER, dir_fd=source)
        try:
            self._check_owner(os.fstat(from_here), path)
            os.mkdir(name, 0o700, dir_fd=target)
            to_there = os.open(name, os.O_RDONLY | FOLDER, dir_fd=target)
            try:
                self.folder(from_here, to_there, path, depth - 1)
            finally:
                os.close(to_there)
        finally:
            os.close(from_here)
        self.copied.folders += 1

    def _file_in(self, source: int, target: int, name: str, path: str) -> None:
        self._count(path)
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise _refused(path)  # not even opened: a device or a pipe has effects
        with os.fdopen(os.open(name, _FILE, dir_fd=source), "rb") as reader:
            found = os.fstat(reader.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise _refused(path)
            self._check_owner(found, path)
            self.copied.sizes[path] = found.st_size
            self.copied.bytes += found.st_size
            if self.copied.bytes > self.most_bytes:
                message = f"it is larger than {self.most_bytes >> 20} MiB"
                raise HostileTreeError(message)
            is_program = found.st_mode & 0o111 or reader.peek(4).startswith(_PROGRAMS)
            with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=target), "wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
                writer.flush()
                os.fchmod(writer.fileno(), 0o555 if is_program else 0o444)
                os.utime(writer.fileno(), ns=(found.st_mtime_ns, found.st_mtime_ns))

    def _count(self, path: str) -> None:
        if len(self.copied.sizes) + self.copied.folders >= _MOST_FILES:
            message = f"more than {_MOST_FILES} files, the last one {path[:200]!r}"
            raise HostileTreeError(message)

    def _check_owner(self, found: os.stat_result, path: str) -> None:
        if found.st_uid != self.owner:
            message = f"{path[:200]!r} belongs to user {found.st_uid}"
            raise HostileTreeError(message)


def _entries(folder: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        # One more than may be: the names of millions of files would fill the runner's own memory.
        some = itertools.islice(entries, _MOST_FILES + 1)
        yield from sorted(some, key=lambda entry: entry.name)


def _refused(path: str) -> HostileTreeError:
    return HostileTreeError(f"{path[:200]!r} is a link, a second name, a device or a pipe")
