"""What of a file or folder is not for everybody to read, with all that is below it.

``PluginFiles`` asks for what a manifest wants to read where others keep files of their own: a box
may have the user of the runner, and then modes keep nothing from it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from toolrunner.sandbox.profile import SCRATCH_PREFIX

MOST_LOOKED_AT = 10_000  # files and folders: a tenth of a second, or two
_FOLDER_FOR_ALL = stat.S_IROTH | stat.S_IXOTH
# Of calls, whatever its mode; as tempfile names it.
_SCRATCH = re.compile(rf"{SCRATCH_PREFIX}(inputs-)?\w{{8}}")


class _PrivateError(Exception):
    """Something is not for everybody; the text says what."""


def private_in(path: str) -> str:
    """Return in words what is not for everybody; "" if there is no such thing.

    What cannot be told is not for everybody. A link is let be: a box gets at what it leads to only
    where that was asked for, and looked at, itself.
    """
    try:
        for folder in Path(path).parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return f"{folder} is not for everybody to enter"
            _check_scratch(str(folder))
        _look_below(path)
    except _PrivateError as private:
        return str(private)
    except OSError as error:
        return f"{error.filename} cannot be looked at: {error.strerror}"
    return ""


def _look_below(path: str) -> None:
    count = 0
    waiting = [path] if _is_folder(path, Path(path).lstat()) else []
    while waiting:
        # What goes meanwhile is not to be read.
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if count > MOST_LOOKED_AT:
                    most = f"it has more than {MOST_LOOKED_AT:,} files and folders"
                    raise _PrivateError(f"{most}, too many to look whether all are for everybody")
                with contextlib.suppress(FileNotFoundError):
                    if _is_folder(entry.path, entry.stat(follow_symlinks=False)):
                        waiting.append(entry.path)


def _is_folder(path: str, state: os.stat_result) -> bool:
    if stat.S_ISLNK(state.st_mode):
        return False
    is_folder = stat.S_ISDIR(state.st_mode)
    wanted = _FOLDER_FOR_ALL if is_folder else stat.S_IROTH
    if state.st_mode & wanted != wanted:
        raise _PrivateError(f"{path} is not for everybody to read")
    if is_folder:
        _check_scratch(path)
    return is_folder


def _check_scratch(folder: str) -> None:
    if _SCRATCH.fullmatch(folder.rpartition("/")[2]):
        raise _PrivateError(f"{folder} is a scratch folder of calls, by its name")
