"""What to set or to use instead, said behind an exception that the walls of a box have caused.

Called by the worker once a plugin has raised. It is advice alone, and goes by its words.
"""

from __future__ import annotations

import errno
import os
import re

from . import given_files, lookup

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import types
    from collections.abc import Iterator
    from typing import Any

_MOST_CAUSES = 8
# Where an exception came from: the end of the file's name, and what its message lacks.
_INSTEAD = {
    "multiprocessing/forkserver.py": "; a fork server needs sockets, which a plugin may not have: "
    "use the start methods fork or spawn",
    "multiprocessing/managers.py": "; a manager needs sockets, which a plugin may not have: use a "
    "Queue, a Pipe or an Array of multiprocessing",
    "multiprocessing/synchronize.py": "; locks between processes need /dev/shm, which this box has "
    "not: use multiprocessing.Pipe, subprocess or threads",
}
_NO_NETWORK = (
    "a plugin has no network and no sockets but stream pairs: set network = true in its "
    'manifest, and "{name}" in allow_network of the operator\'s settings'
)
_BESIDE = (
    "; a single-file plugin has no files beside it: make it a folder with a toolrunner.toml, or "
    "name the folder in read of its manifest"
)
_NOT_IN_THE_SCRATCH = (
    "; a single-file plugin has no files beside it: make it a folder with a toolrunner.toml, or "
    'have the caller give the file (input = "files")'
)
_IN_THE_FOLDER = (
    "; the working directory is the call's scratch, not the plugin's folder: open "
    "Path(__file__).parent / {name!r:.80}"
)
_WRITTEN = (
    "; a plugin may write to the working directory alone, which is context.scratch: write it "
    "there, and give it back with context.artifact(name, path)"
)
_MODELESS = "; this box does not let modes be set: copy with shutil.copyfile, which sets none"
UNSEEN = "if it is there, a plugin may not see it: name its folder in read of the manifest"

ABSENT = "read names {path}, which cannot be found on this host: put it there, or correct the name"
_NOT_FOR_ALL = (
    "; read names it, but not every user may read it: a plugin is a user of its own, who needs "
    "that, and to enter the folders on the way (chmod a+rX)"
)


# How code says that it writes: by what it calls, or by the mode in which a file is opened.
_WRITERS = frozenset({"mkdir", "makedirs", "touch", "write_bytes", "write_text"})
_WRITES = re.compile(
    r"""\b(?:mkdir|makedirs|touch|write_\w+|save\w*|to_(?:csv|excel|json|parquet|pickle))\("""
    r"""|(?:,\s*|\bmode\s*=\s*|\.open\(\s*)["'][bt]?[wax][bt+]{0,2}["']|["']r[bt]?\+[bt]?["']"""
)
_MOST_CALL_LINES = 10


def hint(error: BaseException, order: dict[str, Any]) -> str:
    """Return what to do about an exception, or ""; ``order``: the one to load the plugin."""
    causes = list(chain(error))
    for cause in causes:
        for file in files_of(cause):
            for end, words in _INSTEAD.items():
                if file.endswith(end):
                    return words
    for cause in causes:
        found = network_hint(cause, order) or file_hint(cause, order)
        if found:
            return found
    return ""


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it came from, without asking it."""
    for _ in range(_MOST_CAUSES):
        yield error
        cause = BaseException.__dict__["__cause__"].__get__(error)
        cause = cause or BaseException.__dict__["__context__"].__get__(error)
        if cause is None:
            return
        error = cause


def steps_of(error: BaseException) -> Iterator[types.TracebackType]:
    """Yield the steps of an exception's traceback, past what its class says of it."""
    frames: types.TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    while frames is not None:
        yield frames
        frames = frames.tb_next


def files_of(error: BaseException) -> Iterator[str]:
    """Yield the files that an exception came through."""
    return (step.tb_frame.f_code.co_filename for step in steps_of(error))


def network_hint(error: BaseException, order: dict[str, Any]) -> str:
    """Tell of sockets that were refused, and of hosts that cannot be reached."""
    if order["network"] or not isinstance(error, OSError):
        return ""
    is_refused = error.errno == errno.EPERM and any(
        f.endswith("/socket.py") for f in files_of(error)
    )
    if is_refused or error.errno == errno.ENETUNREACH or type(error).__name__ == "gaierror":
        return f"; {no_network(order['name'])}"
    return ""


def no_network(name: str) -> str:
    """Return what to set for a plugin that wants the network."""
    return _NO_NETWORK.format(name=name)


def file_hint(error: BaseException, order: dict[str, Any]) -> str:
    """Tell of files that are there, or may be, and not in the box; and of where to write some."""
    is_file = not order["entry"].rpartition(":")[0]
    folder = os.path.dirname(order["path"])
    is_write = isinstance(error, OSError) and writes(error)
    found = call_hint(error, order, is_file=is_file, is_write=is_write)
    if found:
        return found
    for path in re.findall(r"(?<![\w.])/[^\s'\"<>:;,)\]]+", str(error)[:4096]):
        if is_write:
            if not lies_in(path, [*scratch(), "/proc", "/dev", "/sys"]):
                return _WRITTEN
        elif is_file and path != order["path"] and path.startswith(f"{folder}/"):
            if cannot_be_opened(path):
                return _BESIDE
        elif isinstance(error, PermissionError) and lies_in(path, order["read"]):
            return _NOT_FOR_ALL
        elif isinstance(error, (FileNotFoundError, PermissionError)) and is_foreign(path, order):
            return f"; {unseen(path, order)}"
    return ""


def unseen(path: str, order: dict[str, Any]) -> str:
    """Return what to do about a path that a plugin does not see."""
    absent = [named for named in order["absent"] if lies_in(path, [named])]
    return ABSENT.format(path=absent[0]) if absent else UNSEEN


def call_hint(error: BaseException, order: dict[str, Any], *, is_file: bool, is_write: bool) -> str:
    """Tell of files of the call, and of those that were looked for where only these are."""
    if isinstance(error, FileNotFoundError) and not is_write:
        return relative_hint(error, order, is_file=is_file)
    if isinstance(error, OSError):
        return given_files.unwritable(error) or mode_hint(error)
    return ""


def mode_hint(error: OSError) -> str:
    """Tell of a copy whose mode could not be set, as in a box without a mount namespace."""
    frame = last_frame_in("/shutil.py", error) if error.errno == errno.EPERM else None
    is_it = frame is not None and frame.f_code.co_name in {"copymode", "copystat"}
    return _MODELESS if is_it else ""


def relative_hint(error: FileNotFoundError, order: dict[str, Any], *, is_file: bool) -> str:
    """Tell of a file that was looked for in the scratch, and of a program that is not there."""
    path = error.filename
    if type(path) is not str or not path or path.startswith("/"):
        return ""
    frame = last_frame_in("/subprocess.py", error)
    if frame is not None:
        is_program = "/" not in path and frame.f_locals.get("cwd") != path
        folders = os.environ.get("PATH", "")
        return f"; {lookup.remedy_in(folders, path)}" if is_program else ""
    by_name = given_files.named(path)
    if by_name:
        return by_name
    if is_file:
        return _NOT_IN_THE_SCRATCH
    is_there = not cannot_be_opened(os.path.join(order["path"], path))
    return _IN_THE_FOLDER.format(name=path) if is_there else ""


def is_of_a_program(error: BaseException) -> bool:
    """Tell whether an exception is of the start of a program."""
    last = last_step(error)
    return last is not None and last.tb_frame.f_code.co_filename.endswith("/subprocess.py")


def last_step(error: BaseException) -> types.TracebackType | None:
    """Return the last step of an exception's traceback."""
    steps = list(steps_of(error))
    return steps[-1] if steps else None


def last_frame_in(end: str, error: BaseException) -> types.FrameType | None:
    """Return the innermost frame of an exception that is of a file whose name ends so."""
    found = None
    for step in steps_of(error):
        if step.tb_frame.f_code.co_filename.endswith(end):
            found = step.tb_frame
    return found


def writes(error: OSError) -> bool:
    """Tell whether something was to be written, as far as the code that it came through says so."""
    if error.errno == errno.EROFS:
        return True
    if is_of_a_program(error):
        return False  # its arguments are no modes of a file
    return any(
        step.tb_frame.f_code.co_name in _WRITERS or _WRITES.search(line_of(step))
        for step in steps_of(error)
    )


def line_of(frames: types.TracebackType) -> str:
    """Return the lines of the call that an exception came through."""
    import linecache

    frame, first = frames.tb_frame, frames.tb_lineno
    ends = [end for _, end, _, _ in frame.f_code.co_positions()]
    last = ends[frames.tb_lasti // 2] or first
    return "".join(
        linecache.getline(frame.f_code.co_filename, number, frame.f_globals)
        for number in range(first, min(last, first + _MOST_CALL_LINES) + 1)
    )


def source_of(frames: types.TracebackType) -> str:
    """Return the expression that an exception came from, as far as its bytecode says so."""
    import linecache

    frame = frames.tb_frame
    places = [*frame.f_code.co_positions()][frames.tb_lasti // 2]
    first, last, start, end = places
    if first is None or last is None or start is None or end is None:
        return ""
    if last - first >= _MOST_CALL_LINES:
        return ""
    lines = [
        linecache.getline(frame.f_code.co_filename, number, frame.f_globals).encode()
        for number in range(first, last + 1)
    ]
    # Columns are of bytes. The end is cut first, as both may be in one line.
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return b"".join(lines).decode("utf-8", "replace")


def scratch() -> list[str]:
    """Return the folders that a plugin may write to."""
    return [os.environ.get("TMPDIR", ""), os.getcwd()]


def is_foreign(path: str, order: dict[str, Any]) -> bool:
    """Tell whether a path is neither in the scratch nor in a folder that the plugin has."""
    own = [*scratch(), order["folder"], *order["read"], "/proc", "/dev"]
    return not lies_in(path, own) and cannot_be_opened(path)


def lies_in(path: str, folders: list[str]) -> bool:
    """Tell whether a path is one of these folders, or below one."""
    return any(folder and f"{path}/".startswith(f"{folder}/") for folder in folders)


def cannot_be_opened(path: str) -> bool:
    """Tell whether nothing can be read at a path."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return True
    return False
