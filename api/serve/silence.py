"""Whether a worker that is to say that it lives is hung: in a deadlock, in a loop, or stopped.

The supervisor asks. Silence alone proves nothing: on a busy host a healthy worker is silent, and so
is everybody where a whole container was frozen. So only those moments count in which the supervisor
ran itself; and who is runnable and was not given processor time is waited for, however long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A worker's event loop says so often that it lives.
BEAT_SECONDS = 2.0
_LOOKS = 30  # in the time after which it is hung
# With so much of that time on a processor it has had its turn.
_HAD_ITS_TURN = 4
# So often in a row nobody in it can have waited for a processor.
_LOOKS_ASLEEP = 5
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Look:
    """A process at one moment: the states of its threads, the first one's first, and its time."""

    states: str
    cpu_seconds: float


def look(pid: int) -> Look | None:
    """Look at a process; ``None`` for one that is gone."""
    try:
        states = [_state(Path(f"/proc/{pid}/stat"))]
        states += [_state(path / "stat") for path in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return None
    used = sum(map(int, states[0][11:13])) / _TICKS
    return Look("".join(fields[0] for fields in states), used)


def _state(path: Path) -> list[str]:
    """Return the fields behind the name, which may hold anything."""
    return path.read_text("utf-8", "replace").rpartition(")")[2].split()


class Silence:
    """How long one worker has said nothing, and what it did meanwhile."""

    def __init__(self, pid: int, seconds: float, see: Callable[[int], Look | None] = look) -> None:
        """It is hung that has said nothing for so long, if it could have."""
        self._pid = pid
        self._seconds = seconds
        self.look_seconds = seconds / _LOOKS
        self._see = see
        self._looked = time.monotonic()
        self._silent = 0.0
        self._asleep = 0
        self._cpu: float | None = None

    def heard(self) -> None:
        """Begin anew: it has said that it lives."""
        self._silent, self._asleep, self._cpu = 0.0, 0, None

    def hung(self, now: float) -> str:
        """Return in words in which way it is hung; "" while it is not, or nobody can tell.

        Ask at least every ``look_seconds``.
        """
        since = now - self._looked
        if since < self.look_seconds:
            return ""
        self._looked = now
        self._silent += min(since, 2 * self.look_seconds)
        seen = self._see(self._pid)
        if seen is None or "t" in seen.states:  # somebody holds it with a debugger
            self.heard()
            return ""
        self._cpu = seen.cpu_seconds if self._cpu is None else self._cpu
        can_run = bool(set(seen.states) & set("RD"))  # or waits for a disk, or its swap
        self._asleep = 0 if can_run else self._asleep + 1
        return self._words(seen) if self._silent >= self._seconds else ""

    def _words(self, seen: Look) -> str:
        assert self._cpu is not None
        busy = seen.cpu_seconds - self._cpu
        said = f"it has said nothing for {self._silent:.0f} s"
        if seen.states[0] == "T":
            return f"{said}: it is stopped (SIGSTOP)"
        if busy >= self._seconds / _HAD_ITS_TURN:
            return f"{said}, and has used {busy:.0f} s of processor time meanwhile"
        if self._asleep >= _LOOKS_ASLEEP:
            return f"{said}, and all its threads wait"
        return ""
