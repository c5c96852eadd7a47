"""What a tree holds of the kernel's memory that no figure of its processes shows.

For hosts without cgroups. Mappings are counted; sockets and pipes are taken for full, each with as
much as its buffer holds by default, which the seccomp filter lets nobody raise. Looked at less
often than memory is: it costs more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from toolrunner.sandbox.processes import descriptors, mappings, open_targets

# Measured: struct vm_area_struct and its place in the tree. Socket: net.core.wmem_default and what
# one more write may add. Pipe: 16 pages.
MAPPING_BYTES, SOCKET_BYTES, PIPE_BYTES = 256, 256 * 1024, 64 * 1024
WATCHED_BYTES = 224  # struct epitem and struct eppoll_entry: one descriptor in one epoll set
# Held against nobody, so that an honest tree never fails for what its buffers might hold.
FREE_BYTES = 16 << 20
_FEW_DESCRIPTORS = 64  # of a tree: not worth a look
HIDDEN_BYTES = 1 << 40  # what a process counts for that cannot be looked into: more than any limit
_MOST_MAPPINGS = 70_000  # vm.max_map_count is 65,530 if nobody has changed it


def unseen_bytes(members: Iterable[int], left: Callable[[], float]) -> int:
    """Return it for a tree; looking ends when no time is ``left``, in seconds."""
    total = 0
    sockets: set[str] = set()
    pipes: set[str] = set()
    open_ones = {}
    for pid in members:
        try:
            total += mappings(pid, _MOST_MAPPINGS) * MAPPING_BYTES
            open_ones[pid] = descriptors(pid)
        except PermissionError:
            return HIDDEN_BYTES
        except OSError:
            continue
        if left() < 0:
            return total
    # A kernel that does not tell their number shows none: then all are looked at.
    are_few = 0 < sum(open_ones.values()) <= _FEW_DESCRIPTORS and all(open_ones.values())
    for pid in () if are_few else open_ones:
        with contextlib.suppress(OSError):
            targets = open_targets(pid)
            sockets |= {target for target in targets if target.startswith("socket:")}
            pipes |= {target for target in targets if target.startswith("pipe:")}
            # Each set may hold each descriptor once.
            sets = targets.count("anon_inode:[eventpoll]")
            total += sets * (len(targets) - sets) * WATCHED_BYTES
        if left() < 0:
            break
    return total + len(sockets) * SOCKET_BYTES + len(pipes) * PIPE_BYTES
