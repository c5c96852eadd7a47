"""Ends what writes too much to the host's disk while an environment is made.

A thread of its own looks at the folders that the box may write to. The kernel bounds only single
files there, and the watchdog knows only a call's scratch. A file that has no name any more is in no
folder: it is missed from the room that the disk has left, where others may write as well.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from types import TracebackType

from toolrunner.sandbox.ending import LimitHit
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.scratch import tree_bytes

_SECONDS = 0.25
OTHERS_MB = 4096  # what others may write to the same disk meanwhile
_DUTY = 5  # it rests so many times as long as a look took


class DiskGuard:
    """Looks for as long as it is entered; ``hit`` once it has ended something."""

    def __init__(
        self,
        folders: Iterable[str],
        most_mb: int,
        interrupt: Interrupt,
        *,
        others_mb: int = OTHERS_MB,
    ) -> None:
        self._folders = tuple(folders)
        self._most = most_mb * MIB
        self._interrupt = interrupt
        self._over = threading.Event()
        self._before = 0
        self._others = others_mb * MIB
        self._free: tuple[int, ...] = ()
        self.hit = False
        self._thread = threading.Thread(target=self._watch, name="toolrunner-disk", daemon=True)

    def _bytes(self) -> int:
        enough = self._before + self._most
        return sum(tree_bytes(folder, enough) for folder in self._folders)

    def _free_bytes(self) -> tuple[int, ...]:
        spaces = [os.statvfs(folder) for folder in self._folders]
        return tuple(space.f_bfree * space.f_frsize for space in spaces)

    def _written(self) -> int:
        """Return what was written, or more than may be where the disk has lost more than that."""
        written = self._bytes() - self._before
        lost = max(
            (had - has for had, has in zip(self._free, self._free_bytes(), strict=True)), default=0
        )
        return max(written, lost - self._others)

    def _watch(self) -> None:
        pause = _SECONDS
        while not self._over.wait(pause):
            began = time.monotonic()
            written = self._written()
            if written > self._most:
                self.hit = True
                limit = LimitHit("scratch_mb", self._most / MIB, written / MIB)
                self._interrupt.hit(limit)
                return
            pause = max(_SECONDS, _DUTY * (time.monotonic() - began))

    def __enter__(self) -> DiskGuard:
        # What lay in uv's cache before counts for nobody.
        self._free = self._free_bytes()
        self._before = sum(tree_bytes(folder, 1 << 62) for folder in self._folders)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
