"""What to say of a worker that a signal has ended which nothing here sends to one that serves."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = "/sys/fs/cgroup"


def told(own: str = "/proc/self/cgroup", cgroups: str = _CGROUPS) -> str:
    """Return where to look for who has sent SIGKILL, with what the cgroup itself counts."""
    words = ", which the server has not sent: see `journalctl -k` for the out-of-memory killer"
    count = _killed_for_memory(own, cgroups)
    return words + ("" if count is None else f" (it has ended {count} of this cgroup's processes)")


def _killed_for_memory(own: str, cgroups: str) -> int | None:
    """Return how many processes of this very cgroup were ended; boxes have groups of their own."""
    try:
        [path] = [
            line[3:] for line in Path(own).read_text().splitlines() if line.startswith("0::/")
        ]
        events = Path(f"{cgroups}{path}/memory.events.local").read_text()
        return {name: int(n) for name, n in map(str.split, events.splitlines())}["oom_kill"]
    except (OSError, ValueError, KeyError):
        return None
