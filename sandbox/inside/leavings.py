"""Gives back what a program has left in the folder ``output``: each file becomes an artifact.

Called by ``command``, in the cell, once the program has succeeded. The parent bounds them all.
"""

from __future__ import annotations

import os

from .jsonable import NotJsonError

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from .artifacts import Artifacts

FOLDER = "output"  # in the working directory, there before the program is


def give_back(artifacts: Artifacts) -> None:
    """Send each file, by name, and take it away; refuse what is no file."""
    try:
        folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the program has taken it away
    except OSError as error:
        message = f"{FOLDER} is no folder any more ({error.strerror}); leave files in it"
        raise NotJsonError(message) from None
    os.close(folder)
    with os.scandir(FOLDER) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if not entry.is_file(follow_symlinks=False):
            raise NotJsonError(
                f"{entry.path!r:.200} is {kind_of(entry)}; each file in {FOLDER} is given back, so "
                "leave nothing but files there"
            )
        try:
            artifacts.give(entry.name, entry.path)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a limit's, or the host's
            message = f"a file in {FOLDER} cannot be given back: {error}"
            raise NotJsonError(message) from None
        os.unlink(entry.path)


def kind_of(entry: os.DirEntry[str]) -> str:
    """Return what is there instead of a file, in words."""
    if entry.is_symlink():
        return "a link"
    return "a folder" if entry.is_dir() else "neither a file nor a folder"
