"""What to write where a plugin takes the files that its call was given for what they are not.

Asked by ``hints`` and ``mistakes``. It is advice alone, and goes by what lies in the scratch.
"""

from __future__ import annotations

import errno
import os
import re

from .inputs import LINK

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

_KEYS = ("name", "path", "mime_type", "bytes")
# What open, pathlib and pandas say of a value that is no path.
_NO_PATH = re.compile(r"(?:path|Path|file).*\b(dict|list)\b")
_BY_ITS_PATH = (
    "; a file of the call is opened by its path, not by its name: open(file['path']) for one of "
    "payload['files']"
)
_COPY = (
    "; the call's files can only be read: write to a copy of one, which shutil.copyfile makes in "
    "the working directory"
)
_COPIED = (
    "; it can only be read, as shutil.copy takes that along from the call's files: copy with "
    "shutil.copyfile"
)


def is_one(value: object) -> bool:
    """Tell whether a value is what a plugin is told of a file."""
    return type(value) is dict and tuple(value) == _KEYS


def named(path: str) -> str:
    """Return what to write for a relative path that is not there, if it is a file's name."""
    return _BY_ITS_PATH if os.path.isfile(f"{_folder()}/{os.path.basename(path)}") else ""


def unwritable(error: OSError) -> str:
    """Return what to do about one of the files, or a copy, that cannot be written to."""
    path = error.filename
    if error.errno not in {errno.EACCES, errno.EROFS} or type(path) is not str or not _are_there():
        return ""
    if has(os.path.realpath(path)):
        return _COPY
    scratch = os.path.realpath(os.environ["TMPDIR"])
    return _COPIED if is_below(os.path.realpath(path), scratch) and _is_read_only(path) else ""


def of_a_database(error: BaseException) -> str:
    """Return what to do about a file, or a copy, that SQLite cannot write to."""
    is_it = "attempt to write a readonly database" in str(error) and _are_there()
    return _COPY if is_it else ""


def of_a_value(error: BaseException, payload: dict[Any, Any]) -> str:
    """Return what to write where a file, or all of them, stand in the place of a path."""
    if not is_one(next(iter(payload.get("files") or ()), None)):
        return ""
    if str(error).startswith("list indices must be"):
        return "; payload['files'] is a list: take one of it, payload['files'][0]"
    wrong = _NO_PATH.search(str(error))
    if wrong is None:
        return ""
    if wrong[1] == "list":
        return "; payload['files'] is a list of files: open payload['files'][0]['path']"
    return "; a file of payload['files'] is a dict: open its path, file['path']"


def of_a_key(name: str) -> str:
    """Return what to write for a file's content, which it is not told with."""
    return f"; its content is in the file: open({name}['path'], 'rb').read()"


def has(path: str) -> bool:
    """Tell whether a path, without links, is of one of the files, or of their folder."""
    return _are_there() and is_below(path, os.path.realpath(_folder()))


def is_below(path: str, folder: str) -> bool:
    """Tell whether a path lies below a folder, both without links."""
    return os.path.commonpath((path, folder)) == folder


def _folder() -> str:
    return f"{os.environ.get('TMPDIR', '')}/{LINK}"


def _are_there() -> bool:
    return os.path.isdir(_folder())


def _is_read_only(path: str) -> bool:
    try:
        return not os.stat(path).st_mode & 0o200
    except OSError:
        return False
