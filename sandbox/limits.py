"""The limits of one plugin call: units, defaults, and what a plugin sees when it hits one.

Read by the manifest (what an author asks for), the settings (what the operator allows at most),
the box (kernel backstops) and the watchdog. Nothing here measures or enforces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

KIB = 1024
MIB = 1024 * KIB


def _about(unit: str, at_limit: str) -> dict[str, str]:
    return {"unit": unit, "at_limit": at_limit}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use; every value is positive and the whole process tree counts."""

    wall_seconds: float = field(
        default=30.0, metadata=_about("s, from the request to the reply", "is killed")
    )
    load_seconds: float = field(
        default=30.0, metadata=_about("s, importing and constructing the plugin", "is killed")
    )
    cpu_seconds: float = field(
        default=30.0, metadata=_about("s of processor time", "is killed, or gets SIGXCPU")
    )
    memory_mb: int = field(
        default=512,
        metadata=_about(
            "MiB resident, shared pages once, with its scratch and what its import holds",
            "is killed, or gets MemoryError",
        ),
    )
    processes: int = field(
        default=32, metadata=_about("processes", "is killed, or fork gives EAGAIN")
    )
    threads: int = field(
        default=64, metadata=_about("threads", "is killed, or starting one gives EAGAIN")
    )
    open_files: int = field(
        default=256, metadata=_about("descriptors a process", "open gives EMFILE")
    )
    scratch_mb: int = field(
        default=64, metadata=_about("MiB of files", "writing gives ENOSPC or EFBIG, or is killed")
    )
    payload_mb: int = field(default=100, metadata=_about("MiB of request", "is not called"))
    output_mb: int = field(default=16, metadata=_about("MiB of reply", "is killed"))
    artifacts_mb: int = field(
        default=32, metadata=_about("MiB of files given back, 64 at most", "is killed")
    )
    log_kb: int = field(
        default=256,
        metadata=_about("KiB kept of stdout and stderr", "the rest is dropped and counted"),
    )

    def capped(self, caps: Mapping[str, float]) -> Limits:
        """Return these limits with each one at most its value in ``caps``."""
        if not caps:
            return self
        over: dict[str, Any] = {
            name: cap for name, cap in caps.items() if getattr(self, name, cap) > cap
        }
        return replace(self, **over) if over else self


LIMIT_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Limits))
