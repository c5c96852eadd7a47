"""The most memory that a cgroup of version 2 has held from some moment on."""

from __future__ import annotations

import contextlib
import os

from toolrunner.sandbox import forks
from toolrunner.sandbox.cgroups.files import read


class Peak:
    """The kernel's high-water mark of a cgroup (``memory.peak``, Linux 5.19).

    From Linux 6.12 on, a descriptor that is written to has a mark of its own, from then on. Before,
    there is one mark for the cgroup's life: it is ours if it has risen.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/memory.peak"
        self._descriptor = -1
        self._mark_before = 0
        forks.in_each_child(self, Peak.close)

    def begin(self) -> None:
        """Look for the most from here on."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(self._descriptor, b"reset", 0)
        except OSError:  # an older kernel, or no descriptor is left
            self.close()
            with contextlib.suppress(OSError):
                self._mark_before = int(read(self._path))

    def most_bytes(self) -> int:
        """Return the most since ``begin``, 0 if it is not known."""
        try:
            if self._descriptor >= 0:
                return int(os.pread(self._descriptor, 32, 0))
            mark = int(read(self._path))
        except FileNotFoundError:
            return 0
        return mark if mark > self._mark_before else 0

    def close(self) -> None:
        """Let go of the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
