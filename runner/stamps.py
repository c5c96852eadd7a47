"""Tells when the files of a plugin have changed, so that what was loaded from them is let go."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

CHECK_SECONDS = 1.0
_MOST_FILES = 2000


class Stamps:
    """The state of plugins' folders, looked at once a second at most. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[float, int]] = {}

    def of(self, path: Path) -> int:
        """Return a number that is another one when a file below ``path`` has changed."""
        with self._lock:
            checked, stamp = self._known.get(path, (0.0, 0))
            if checked and time.monotonic() - checked < CHECK_SECONDS:
                return stamp
        stamp = stamp_of(path)
        with self._lock:
            self._known[path] = (time.monotonic(), stamp)
        return stamp


def stamp_of(path: Path) -> int:
    """Return a number made of the names, sizes and times of all files below ``path``.

    Compiled files are left out: they follow from the others. A folder of very many files counts
    as its first ones.
    """
    found: list[tuple[str, int, int]] = []
    for parent, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files)[: _MOST_FILES - len(found)]:
            try:
                state = Path(parent, name).stat()
            except OSError:
                continue
            found.append((f"{parent}/{name}", state.st_mtime_ns, state.st_size))
        if len(found) >= _MOST_FILES:
            break
    return hash(tuple(found))
