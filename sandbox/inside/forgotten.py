"""Says in a call's log that its result names a file which goes with the call: its author meant one.

Nothing of the result is changed: a text may be no path at all.
"""

from __future__ import annotations

import json
import os

from . import logs

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .artifacts import Artifacts

_SEARCHED_BYTES, _MOST_ENTRIES, _DEEPEST, _MOST_TOLD = 1 << 20, 200, 3, 3
# What lies there by itself, or is given back by itself.
_NOT_ITS_OWN = frozenset({"input", "output"})


def tell(result: bytes, artifacts: Artifacts, order: dict[str, Any]) -> None:
    """Write one line to the log of a call, if its result names files that nobody will have."""
    if "log" not in order or order["log_level"] > logs.WARNING or len(result) > _SEARCHED_BYTES:
        return
    try:
        named = [path for path in files(artifacts) if is_named(path, artifacts.scratch, result)]
        if named:
            logs.warn(words(sorted(named)[:_MOST_TOLD], bool(order["command"])), order)
    except OSError:
        return  # what a plugin has done to its folder is no fault of its call


def files(artifacts: Artifacts) -> Iterator[str]:
    """Yield the files of the working folder, by paths within it, that are no artifacts.

    Folders as well, with a slash behind.
    """
    folders, left = [("", 1)], _MOST_ENTRIES
    while folders:
        folder, depth = folders.pop()
        with os.scandir(os.path.join(artifacts.scratch, folder)) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return
                path = os.path.join(folder, entry.name)
                if entry.name.startswith(".") or path in _NOT_ITS_OWN:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders += [(path, depth + 1)] * (depth < _DEEPEST)
                    yield f"{path}/"
                elif entry.is_file(follow_symlinks=False) and "." in entry.name:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_size and not artifacts.has(entry.name, found):
                        yield path


def is_named(path: str, scratch: str, result: bytes) -> bool:
    """Tell whether a text of a result, other than a key, is this path.

    A folder's name is a word like any other: only its whole path is told.
    """
    whole = os.path.join(scratch, path)
    texts = (whole, whole[:-1]) if path.endswith("/") else (path, f"./{path}", whole)
    for text in texts:
        quoted = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")
        at = result.find(quoted)
        while at >= 0:
            end = at + len(quoted)
            if not result[end : end + 16].lstrip().startswith(b":"):
                return True
            at = result.find(quoted, end)
    return False


def words(paths: list[str], is_program: bool) -> str:
    """Return what to do, if the caller is to have these files."""
    path = paths[0]
    named = os.path.basename(path.rstrip("/"))
    what = "file"
    how = f"Path({path!r}) or context.artifact({named!r}, {path!r}) there"
    if path.endswith("/"):
        what = "folder"
        how = f"an archive of it there: Path(shutil.make_archive({named!r}, 'zip', {path!r}))"
    if is_program:
        how = "it in the folder output" if what == "file" else "an archive of it in output"
    return (
        f"the result names {', '.join(map(repr, paths))} of the working folder, which goes with "
        f"the call; if its caller is to have the {what}, put {how}"
    )
