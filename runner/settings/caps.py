"""The most that a manifest may ask of each limit, where the operator says nothing.

Far above what a plugin needs, and far below what would take a whole host.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from types import MappingProxyType

from toolrunner.sandbox.limits import MIB, Limits

MOST_MEMORY_MB = 16_384
MOST_OPEN_FILES = 1024
# Of the runner's own. What an ordinary user's plugins have under way in sockets counts for the
# user: as many as the runner may have open, and it could order no more calls.
_OWN_OPEN_FILES = 600

# What ``memory_mb`` may be depends on the host: see ``default_caps``.
DEFAULT_CAPS: Mapping[str, float] = MappingProxyType(
    {
        "wall_seconds": 3600.0,
        "load_seconds": 600.0,
        "cpu_seconds": 3600.0,
        "processes": 256,
        "threads": 1024,
        "open_files": MOST_OPEN_FILES,
        "scratch_mb": 4096,
        "payload_mb": 1024,
        "output_mb": 64,
        "artifacts_mb": 256,
        "log_kb": 1_024,
    }
)


def default_caps() -> dict[str, float]:
    """Return a cap for each limit; that of memory is half of this host's, if that is less.

    That of open files is less than the runner itself may have.
    """
    half = _host_memory_mb() // 2
    # No less than the limit's own default, which no author has asked for.
    memory_mb = max(Limits().memory_mb, min(MOST_MEMORY_MB, half))
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    files = MOST_OPEN_FILES if own == resource.RLIM_INFINITY else own - _OWN_OPEN_FILES
    open_files = max(Limits().open_files, min(MOST_OPEN_FILES, files))
    return {"memory_mb": memory_mb, **DEFAULT_CAPS, "open_files": open_files}


def _host_memory_mb() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    except (AttributeError, OSError, ValueError):
        return 2 * MOST_MEMORY_MB  # a system that does not say
