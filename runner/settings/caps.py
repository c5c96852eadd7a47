"""The most that a manifest may ask of each limit, where the operator says nothing.

Far above what a plugin needs, and far below what would take a whole host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from toolrunner.sandbox.limits import MIB, Limits

MOST_MEMORY_MB = 16_384

# What ``memory_mb`` may be depends on the host: see ``default_caps``.
DEFAULT_CAPS: Mapping[str, float] = MappingProxyType(
    {
        "wall_seconds": 3600.0,
        "load_seconds": 600.0,
        "cpu_seconds": 3600.0,
        "processes": 256,
        "threads": 1024,
        "open_files": 4096,
        "scratch_mb": 4096,
        "payload_mb": 1024,
        "output_mb": 64,
        "log_kb": 1_024,
    }
)


def default_caps() -> dict[str, float]:
    """Return a cap for each limit; that of memory is half of this host's, if that is less."""
    half = _host_memory_mb() // 2
    # No less than the limit's own default, which no author has asked for.
    memory_mb = max(Limits().memory_mb, min(MOST_MEMORY_MB, half))
    return {"memory_mb": memory_mb, **DEFAULT_CAPS}


def _host_memory_mb() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    except (AttributeError, OSError, ValueError):
        return 2 * MOST_MEMORY_MB  # a system that does not say
