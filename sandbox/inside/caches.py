"""What libraries write into their user's caches as they are imported: fonts, compiled functions.

The cells of a warm box see what the load has written there, where it wrote it, and nobody can write
to it any more. For the next load of the same plugin it is packed, and unpacked before that. All of
this runs where the plugin does, in its scratch; a plugin can spoil no caches but its own.
"""

from __future__ import annotations

import contextlib
import json
import os

from . import protocol

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

# In a home folder, by the XDG specification; the last is fontconfig's, where it may not chmod.
PLACES = (".cache", ".config", ".fontconfig")
_MOST_ENTRIES = 4000
_MOST_FOLDERS = 64  # each costs every call some microseconds


def entries(scratch: str = ".") -> Iterator[os.DirEntry[str]]:
    """Yield all that lies in the caches of a scratch, folders before what is in them."""
    waiting = [scratch]
    left = _MOST_ENTRIES
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as found:
            here = [entry for entry in found if folder != scratch or entry.name in PLACES]
        left -= len(here)
        if left < 0:
            message = f"more than {_MOST_ENTRIES} files in its caches"
            raise OSError(message)
        waiting += [entry.path for entry in here if entry.is_dir(follow_symlinks=False)]
        yield from here


def strange(scratch: str) -> list[str]:
    """Return what in the caches is neither a file nor a folder: links, pipes."""
    return [
        entry.path.removeprefix(f"{scratch}/")
        for entry in entries(scratch)
        if not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))
    ]


def folders() -> list[str]:
    """Return the folders of the caches in the working directory, outer ones first."""
    with contextlib.suppress(OSError):
        found = [e.path for e in entries() if e.is_dir(follow_symlinks=False)]
        if len(found) <= _MOST_FOLDERS:
            return found
    return []


def make(wanted: Sequence[str]) -> None:
    """Make these folders in the working directory, for what a library writes later on.

    Some hold what they have looked for once to be there for good (numba).
    """
    for folder in wanted:
        with contextlib.suppress(OSError):
            os.mkdir(folder, 0o700)


def pack() -> bytes:
    """Return the caches in the working directory as bytes; none if there are none, or too many."""
    index: list[tuple[str, int]] = []
    contents: list[bytes] = []
    size = 0
    try:
        for entry in entries():
            if not entry.is_file(follow_symlinks=False):
                continue
            size += entry.stat(follow_symlinks=False).st_size
            if size > protocol.CACHES_CAP:
                return b""
            with open(entry.path, "rb") as file:
                contents.append(file.read(protocol.CACHES_CAP))
            index.append((entry.path, len(contents[-1])))
    except OSError:
        return b""
    head = json.dumps(index).encode()
    packed = b"".join([protocol.HEAD_LENGTH.pack(len(head)), head, *contents])
    return packed if index and len(packed) <= protocol.CACHES_CAP else b""


def unpack(packed: bytes) -> None:
    """Write packed caches into the working directory; what cannot be read or written is left out.

    They are of this plugin's own making, and it can write no further than this itself.
    """
    if not packed:
        return
    with contextlib.suppress(Exception):
        (length,) = protocol.HEAD_LENGTH.unpack_from(packed)
        start = protocol.HEAD_LENGTH.size + length
        for path, size in json.loads(packed[protocol.HEAD_LENGTH.size : start]):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with open(path, "wb") as file:
                file.write(memoryview(packed)[start : start + size])
            start += size


def taken_apart(order: dict[str, Any], rest: bytes) -> tuple[bytes, bytes]:
    """Return what follows an order to load: the plugin's source, and packed caches."""
    length = len(rest) - order["caches"]
    return rest[:length], rest[length:]
