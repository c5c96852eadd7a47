"""Landlock rulesets: which files a process may touch, and no signals out of its domain.

The zygote puts one on itself before any plugin code; each cell adds a second one of its own.
Rights are those of linux/landlock.h; a kernel with an older ABI knows only the first of them.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from .syscalls import Kernel

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI = (1 << 13) - 1
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_NET_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract Unix sockets, signals

READ_ONLY = EXECUTE | READ_FILE | READ_DIR
DATA = READ_FILE | READ_DIR
DEVICE = WRITE_FILE | READ_FILE
EVERYTHING = (1 << 16) - 1


def handled_rights(abi: int) -> int:
    """Return all file system rights that ``abi`` can deny."""
    return (
        _FIRST_ABI
        | (REFER if abi >= 2 else 0)
        | (TRUNCATE if abi >= 3 else 0)
        | (IOCTL_DEV if abi >= 5 else 0)
    )


def attributes(abi: int, *, network: bool) -> bytes:
    """Return ``struct landlock_ruleset_attr`` in the size that ``abi`` knows."""
    if abi < 4:
        return struct.pack("=Q", handled_rights(abi))
    net = 0 if network else _NET_TCP
    if abi < 6:
        return struct.pack("=QQ", handled_rights(abi), net)
    return struct.pack("=QQQ", handled_rights(abi), net, _SCOPES)


def open_known(path: str, known: list[int] | None) -> int:
    """Open a path without any right to it; ``known``: the device and inode that it has to be."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    found = os.fstat(opened)
    if known is not None and [found.st_dev, found.st_ino] != known:
        os.close(opened)
        raise ReplacedError(errno.ESTALE, f"{path} is another file than the one that was checked")
    return opened


class ReplacedError(OSError):
    """Something has taken the place of a file that was checked."""


def build(
    kernel: Kernel,
    abi: int,
    rules: Iterable[tuple[str, int]],
    *,
    network: bool = False,
    found: Mapping[str, list[int]] = {},
) -> int:
    """Return the descriptor of a ruleset that allows ``rules``: pairs of a path and its rights.

    A path that does not exist grants nothing and is passed over. ``found``: the device and inode
    that a path has to be, or it is an error.
    """
    ruleset = kernel.landlock_ruleset(attributes(abi, network=network))
    for path, wanted in rules:
        try:
            target = open_known(path, found.get(path))
        except ReplacedError:
            os.close(ruleset)
            raise
        except OSError:
            continue
        try:
            rights = wanted & handled_rights(abi)
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                rights &= _FILE_RIGHTS
            kernel.landlock_allow(ruleset, struct.pack("=Qi", rights, target), path)
        finally:
            os.close(target)
    return ruleset


def restrict(kernel: Kernel, ruleset: int) -> None:
    """Put this process under ``ruleset``, for good, and close its descriptor."""
    kernel.landlock_restrict(ruleset)
    os.close(ruleset)
