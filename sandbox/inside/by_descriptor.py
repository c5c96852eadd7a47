"""``os.chmod``, ``os.utime``, ``os.truncate`` by descriptor, where the kernel refuses names.

Nothing but the filter keeps a name from leading to what belongs to another call of the same box;
an open file is the call's own. So where names are refused, these open the file first. Programs that
a plugin starts have no such help.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

_chmod, _utime, _truncate = os.chmod, os.utime, os.truncate
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def install() -> None:
    """Put them in place, if the kernel refuses the others."""
    try:
        _utime(".")
    except PermissionError:
        os.chmod, os.utime, os.truncate = chmod, utime, truncate
        os.supports_dir_fd |= {chmod, utime}
        os.supports_follow_symlinks |= {chmod, utime}
        os.supports_fd |= {chmod, utime}


def chmod(path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Change a file's mode, as ``os.chmod``."""
    if isinstance(path, int):
        _chmod(path, mode)
        return
    file = os.open(path, _flags(follow_symlinks), dir_fd=dir_fd)
    try:
        os.fchmod(file, mode)
    finally:
        os.close(file)


def utime(
    path: Any,
    times: Any = None,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
    **times_ns: Any,
) -> None:
    """Set a file's times, as ``os.utime``."""
    if isinstance(path, int):
        _utime(path, times, **times_ns)
        return
    file = os.open(path, _flags(follow_symlinks), dir_fd=dir_fd)
    try:
        _utime(file, times, **times_ns)
    finally:
        os.close(file)


def truncate(path: Any, length: int) -> None:
    """Set a file's length, as ``os.truncate``."""
    if isinstance(path, int):
        _truncate(path, length)
        return
    file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.ftruncate(file, length)
    finally:
        os.close(file)


def _flags(follow_symlinks: bool) -> int:
    return _FLAGS if follow_symlinks else _FLAGS | os.O_NOFOLLOW
