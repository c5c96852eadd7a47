"""Files that a call gives back beside its result: those it names, and those a result holds.

Shares a process with the plugin, as all of the worker: the parent checks each of them again.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys

from . import given_files, mime_types, pictures, protocol, wire

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import _thread
    import socket
    from collections.abc import Iterator
    from typing import Any

_BLOCK = 1 << 18
_SMALL = 1 << 19
_LONGEST_NAME = 128
_LONGEST_SUFFIX = 16
_NAME_WORDS = (
    f"1 to {_LONGEST_NAME} ASCII letters, digits, dots, hyphens and underscores, the first one a "
    "letter or digit"
)


OF_A_FOLDER = "a folder as an archive: Path(shutil.make_archive('NAME', 'zip', 'FOLDER'))"


class Artifacts:
    """Sends the artifacts of one reply, each at once, whole or not at all."""

    def __init__(self, channel: socket.socket | None, lock: _thread.LockType) -> None:
        """``channel``: ``None`` for nobody who listens."""
        self._channel = channel
        self._lock = lock
        self._own_pid = os.getpid()
        self.scratch = os.environ.get("TMPDIR", os.devnull)
        self._is_real = False  # whether that is a path without links
        self._attached: dict[tuple[int, int], dict[str, object]] = {}
        self._names: set[str] = set()
        self._given: set[tuple[int, int]] = set()
        self._failure: BaseException | None = None

    def give(self, name: str, data: Any, mime_type: str | None = None) -> dict[str, object]:
        """Send an artifact; return what stands for it in the result.

        ``data``: bytes, or the path of a regular file below the scratch. Raises ValueError and
        TypeError for what is none of it, with what is.
        """
        check_name(name)
        mime_type = mime_types.checked(mime_type) if mime_type else mime_types.of(name)
        if isinstance(data, (str, os.PathLike)):
            descriptor, size, key = self._opened(data)
            self._given.add(key)
            try:
                return self._send(name, mime_type, size, read(descriptor, size, name))
            finally:
                os.close(descriptor)
        view = as_bytes(data)
        return self._send(name, mime_type, len(view), cut(view))

    def attach(self, value: object, place: str) -> dict[str, object] | None:
        """Give back what a result holds at ``place``, if it is a file or a picture.

        Returns what stands for it there; ``None`` for everything else.
        """
        if isinstance(value, os.PathLike):
            return self._attach_file(value)
        picture = pictures.encoded(value, place)
        if picture is None:
            return None
        data, suffix = picture
        # "result['frames'][0]" is "frames-0".
        words = "".join(c if is_name("a" + c) else " " for c in place).split()[1:]
        name = self._free_name("-".join(words or ["result"]) + suffix)
        return self.give(name, data)

    def has(self, name: str, found: os.stat_result) -> bool:
        """Tell whether a file was given back, by its own name or by itself."""
        key = found.st_dev, found.st_ino
        return name in self._names or key in self._given or key in self._attached

    def check(self) -> None:
        """Raise why one of them is not what was announced, even if the plugin went on after that.

        What has been sent then would be taken for the file.
        """
        if self._failure is not None:
            raise self._failure

    def _attach_file(self, path: os.PathLike[Any]) -> dict[str, object] | None:
        try:
            descriptor, size, key = self._opened(path)
        except (OSError, ValueError):
            return None  # no file of the call's: a path like any other
        try:
            if key not in self._attached:  # the same file may stand in a result twice
                name = self._free_name(os.path.basename(os.fsdecode(path)))
                blocks = read(descriptor, size, name)
                self._attached[key] = self._send(name, mime_types.of(name), size, blocks)
            return self._attached[key]
        finally:
            os.close(descriptor)

    def _opened(self, path: str | os.PathLike[Any]) -> tuple[int, int, tuple[int, int]]:
        """Open a file of the scratch: its descriptor, its size, and what tells it from others."""
        if not self._is_real:
            self.scratch, self._is_real = os.path.realpath(self.scratch), True
        descriptor = opened(path, self.scratch)
        found = os.fstat(descriptor)
        return descriptor, found.st_size, (found.st_dev, found.st_ino)

    def _free_name(self, wanted: str) -> str:
        """Return the name nearest to ``wanted`` that no artifact has yet."""
        stem, suffix = os.path.splitext(as_name(wanted))
        name, number = stem + suffix, 1
        while name in self._names:
            number += 1
            ending = f"-{number}{suffix}"
            name = stem[: _LONGEST_NAME - len(ending)] + ending
        return name

    def anew(self) -> Artifacts:
        """Return those of the next reply."""
        return Artifacts(self._channel, self._lock)

    def _send(
        self, name: str, mime_type: str, size: int, blocks: Iterator[memoryview]
    ) -> dict[str, object]:
        if os.getpid() != self._own_pid:
            message = "artifacts are given by the call's own process; hand the bytes or path to it"
            raise RuntimeError(message)
        digest = new_digest(size)

        def hashed() -> Iterator[memoryview]:
            for block in blocks:
                digest.update(block)
                yield block

        with self._lock:
            if name in self._names:
                message = f"there is an artifact {name!r} already; give each a name of its own"
                raise ValueError(message)
            self._names.add(name)
            try:
                self._send_blocks({"name": name, "mime_type": mime_type}, size, hashed())
            except BaseException as error:
                self._failure = self._failure or error
                raise
        reference = {"artifact": name, "mime_type": mime_type, "bytes": size}
        return {**reference, "sha256": digest.hexdigest()}

    def _send_blocks(self, head: dict[str, str], size: int, blocks: Iterator[memoryview]) -> None:
        channel = self._channel
        if channel is None:
            for _ in blocks:
                continue
        elif channel.fileno() < 0:
            message = "the call that this context belongs to is over"
            raise RuntimeError(message)
        else:
            wire.send_blocks(channel, protocol.ARTIFACT, json.dumps(head).encode(), size, blocks)


def new_digest(size: int) -> Any:
    """Return what makes the digest of so many bytes."""
    if size <= _SMALL and "hashlib" not in sys.modules:
        # OpenSSL is faster, and takes longer to load than a small file to read.
        try:
            return __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256()
        except ImportError:  # a Python that was built without
            pass
    import hashlib

    return hashlib.sha256()


def check_name(name: object) -> None:
    """Refuse what is no name of an artifact: it may become a file's."""
    if not isinstance(name, str):
        message = f"the name of an artifact is of type {type(name).__name__}; give {_NAME_WORDS}"
        raise TypeError(message)
    if not is_name(name):
        message = f"{name!r:.200} cannot be the name of an artifact; use {_NAME_WORDS}"
        raise ValueError(message)


def is_name(name: str) -> bool:
    """Tell whether an artifact may have this name."""
    plain = name.replace(".", "a").replace("-", "a").replace("_", "a")
    return len(name) <= _LONGEST_NAME and name.isascii() and plain.isalnum() and name[0].isalnum()


def as_name(text: str) -> str:
    """Return the legal name nearest to a text."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    stem, suffix = os.path.splitext(name)
    stem, suffix = stem.lstrip("._-") or "file", suffix[:_LONGEST_SUFFIX]
    return stem[: _LONGEST_NAME - len(suffix)] + suffix


def as_bytes(data: Any) -> memoryview:
    """Return an object's bytes; refuse what only has some inside."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        kind = type(data)
        message = (
            f"an artifact's data is of type {kind.__module__}.{kind.__qualname__}; give bytes, or "
            "the path of a file below the scratch; a picture can stand in the result as it is"
        )
        raise TypeError(message)
    view = memoryview(data)
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def cut(view: memoryview) -> Iterator[memoryview]:
    """Yield bytes in blocks, each as it is now: they may be changed meanwhile."""
    for start in range(0, len(view), _BLOCK):
        yield memoryview(bytes(view[start : start + _BLOCK]))


def opened(path: str | os.PathLike[Any], scratch: str) -> int:
    """Open a regular file below the scratch, given without links; return a descriptor of it."""
    name = os.fsdecode(path)
    folder, base = os.path.split(os.path.abspath(name))
    folder = os.path.realpath(folder)
    if not given_files.is_below(folder, scratch):
        what = (
            "is a file that the call was given, and none of its own: copy it to the scratch with "
            "shutil.copyfile, and give the copy"
            if given_files.has(folder)
            else "is not below the scratch; write the file there (context.scratch)"
        )
        message = f"{name!r:.300} {what}, or give its bytes"
        raise ValueError(message)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(os.path.join(folder, base), flags)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        if isinstance(path, str):  # which may be no path at all
            instead = "a text is given as bytes, by its encode()"
        elif error.errno == errno.ELOOP:
            instead = "give the path of the file itself"
        else:
            instead = "write the file there first"
        message = f"{name!r:.300} cannot be given back as a file of the scratch ({why}); {instead}"
        raise ValueError(message) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        message = f"{name!r:.300} is no regular file; only such can be given back, {OF_A_FOLDER}"
        raise ValueError(message)
    return descriptor


def read(descriptor: int, size: int, name: str) -> Iterator[memoryview]:
    """Yield a file's bytes in blocks; raise ``OSError`` if it does not stay as large as it was."""
    left = size
    while left:
        block = os.read(descriptor, min(left, _BLOCK))
        if not block:
            break
        left -= len(block)
        yield memoryview(block)
    now = os.fstat(descriptor).st_size
    if left or now != size:
        message = (
            f"the file {name} has changed its size while it was read, from {size} bytes to {now}; "
            "give it back when nothing writes to it any more"
        )
        raise OSError(message)
