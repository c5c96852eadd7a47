"""Removes what plugins have written to the host's disk, where no scratch can be mounted.

Done by the warden, with the rights of the box's user, while code of the same plugin may still run
and change names under it. So nothing is done by path below the folder that is emptied: every step
goes by a descriptor of a folder and a name in it, and follows no link.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # a folder, and no link to one
_ROUNDS = 100_000  # folders; more than any scratch may hold


def make_inner(path: str, name: str) -> None:
    """Make a folder and another in it, whatever takes the place of the first meanwhile.

    A resident may rename what lies in the folder that holds its scratch.
    """
    outer, inner = os.path.split(path)
    holder = os.open(outer, os.O_PATH | FOLDER)
    try:
        os.mkdir(inner, 0o700, dir_fd=holder)
        made = os.open(inner, os.O_PATH | FOLDER, dir_fd=holder)
        try:
            os.mkdir(name, 0o700, dir_fd=made)
        finally:
            os.close(made)
    finally:
        os.close(holder)


def list_folder(folder: int | None, name: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, which is no link; its entries are good for their kind alone."""
    opened = os.open(name, os.O_RDONLY | FOLDER, dir_fd=folder)
    try:
        with os.scandir(opened) as entries:
            return list(entries)
    finally:
        os.close(opened)


def empty_folder(folder: str) -> None:
    """Remove all that is in a folder, however deep; raise ``OSError`` if something stays.

    ``folder`` itself must be one that no plugin can rename or replace.
    """
    root = os.open(folder, os.O_RDONLY | FOLDER)
    token = os.urandom(8).hex()  # for names that no plugin has thought of
    numbers = itertools.count()
    try:
        for _ in range(_ROUNDS):
            names = os.listdir(root)
            if not names:
                return
            for name in names:
                _remove(root, name, (f"{token}-{number}" for number in numbers))
    finally:
        os.close(root)
    raise OSError(errno.ENOTEMPTY, f"{folder} cannot be emptied")


def _remove(root: int, name: str, new_names: Iterator[str]) -> None:
    """Remove one entry of ``root``; move folders in it up, to be removed in their turn.

    So the depth of a tree costs neither descriptors nor recursion.
    """
    with contextlib.suppress(FileNotFoundError):
        if _unlinked(root, name):
            return
        inner = open_folder(root, name)
        try:
            for child in os.listdir(inner):
                if not _unlinked(inner, child):
                    os.close(open_folder(inner, child))  # which makes it ours to move
                    os.rename(child, next(new_names), src_dir_fd=inner, dst_dir_fd=root)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=root)


def _unlinked(folder: int, name: str) -> bool:
    """Remove what is no folder; return false for one."""
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        return False
    return True


def open_folder(folder: int | None, name: str) -> int:
    """Open a folder in a folder, whatever its mode was; it is changed by that."""
    handle = os.open(name, os.O_PATH | FOLDER, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)
