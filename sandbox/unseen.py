"""What a tree holds of the kernel's memory that no figure of its processes shows.

For hosts without cgroups. Mappings are counted; sockets and pipes are taken for full, each with as
much as its buffer holds by default, which the seccomp filter lets nobody raise. Looked at less
often than memory is: it costs more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from toolrunner.sandbox.processes import (
    descriptors,
    mappings,
    open_targets,
    readable_folder,
    watched,
)

# Measured: struct vm_area_struct and its place in the tree. Socket: net.core.wmem_default and what
# one more write may add. Pipe: 16 pages.
MAPPING_BYTES, SOCKET_BYTES, PIPE_BYTES = 256, 256 * 1024, 64 * 1024
WATCHED_BYTES = 224  # struct epitem and struct eppoll_entry: one descriptor in one epoll set
# Held against nobody, so that an honest tree never fails for what its buffers might hold.
FREE_BYTES = 16 << 20
_FEW_DESCRIPTORS = 64  # of a tree: not worth a look
HIDDEN_BYTES = 1 << 40  # what a process counts for that cannot be looked into: more than any limit
_MOST_MAPPINGS = 70_000  # vm.max_map_count is 65,530 if nobody has changed it


def unseen_bytes(
    members: Iterable[int], left: Callable[[], float], so_far: Callable[[int], None]
) -> int:
    """Return it for a tree; looking ends when no time is ``left``, in seconds.

    ``so_far`` is told what has been found, as it is found: all of it may take long.
    """
    folders: dict[str, int] = {}
    total = 0
    for pid in members:
        total += _mapped_bytes(pid, folders)
        so_far(total)
        if left() < 0:
            return total
    return total + _buffered_bytes(folders, left, lambda found: so_far(total + found))


def _mapped_bytes(pid: int, folders: dict[str, int]) -> int:
    """Return what a process's mappings take; note its folder in /proc, and its descriptors."""
    try:
        folder = readable_folder(pid)
        count = mappings(folder, _MOST_MAPPINGS)
        folders[folder] = descriptors(folder)
    except PermissionError:
        return HIDDEN_BYTES
    except OSError:
        return 0
    return count * MAPPING_BYTES


def _buffered_bytes(
    folders: dict[str, int], left: Callable[[], float], so_far: Callable[[int], None]
) -> int:
    """Return what sockets, pipes and epoll sets may take, given how many descriptors each has."""
    # A kernel that does not tell their number shows none: then all are looked at.
    if all(folders.values()) and sum(folders.values()) <= _FEW_DESCRIPTORS:
        return 0
    sockets: set[str] = set()
    pipes: set[str] = set()
    found = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            for number, target in open_targets(folder):
                if target == "anon_inode:[eventpoll]":
                    found += watched(folder, number) * WATCHED_BYTES
                elif target.startswith(("socket:", "pipe:")):
                    (sockets if target.startswith("socket:") else pipes).add(target)
        so_far(found + len(sockets) * SOCKET_BYTES + len(pipes) * PIPE_BYTES)
        if left() < 0:
            break
    return found + len(sockets) * SOCKET_BYTES + len(pipes) * PIPE_BYTES
