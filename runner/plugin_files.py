"""What is read of plugins' files before each call: the source of single ones, changes of others.

A file is read again only when its state says that it has changed; folders, also those that plugins
ask to read, are looked through once a second at most.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.for_everybody import private_in
from toolrunner.sandbox import forks, paths
from toolrunner.sandbox.ending import SCARCE
from toolrunner.sandbox.limits import MIB

CHECK_SECONDS = 1.0
SPARING = 20  # times as long as a look at a large folder took, none is taken
MAX_SOURCE_BYTES = 4 * MIB
_MOST_FILES = 2000

_SETTLED_NS = 100_000_000  # two writes may bear one time, if they are closer than a clock tick

_State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Look:
    """When it ended, by the monotonic clock, how long it took, and what was found."""

    ended: float
    seconds: float
    words: str


class PluginFiles:
    """Sources and changes, as far as they are known. Thread-safe."""

    def __init__(self) -> None:
        self._begin()
        forks.in_each_child(self, PluginFiles._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._sources: dict[str, tuple[_State, bytes]] = {}
        self._stamps: dict[Path, tuple[float, int]] = {}
        self._found: dict[str, tuple[float, paths.Found]] = {}
        self._private: dict[paths.Found, _Look] = {}

    def find(self, path: str) -> paths.Found:
        """Return what a path leads to; ``OSError``, as ``ForeignLinkError``, if to nothing.

        Walked at least once a second, and when it leads to another file than before.
        """
        with self._lock:
            walked, known = self._found.get(path, (0.0, None))
        if known is not None and time.monotonic() - walked < CHECK_SECONDS:
            now = os.stat(path)  # noqa: PTH116 - every call asks, and a Path costs more than that
            if (now.st_dev, now.st_ino) == (known.device, known.inode):
                return known
        found = paths.find(path)
        with self._lock:
            self._found[path] = (time.monotonic(), found)
        return found

    def private(self, found: paths.Found) -> str:
        """Return in words what of a file or folder is not for everybody to read; "" for nothing."""
        with self._looking:  # the calls that wait here need no look of their own
            known = self._private.get(found)
            begun = time.monotonic()
            if known is None or begun - known.ended >= max(CHECK_SECONDS, SPARING * known.seconds):
                words = private_in(found.path)
                ended = time.monotonic()
                known = self._private[found] = _Look(ended, ended - begun, words)
            return known.words

    def forget(self) -> None:
        """Have every path walked anew: what one led to was not there any more."""
        with self._lock:
            self._found.clear()

    def source(self, path: str) -> bytes:
        """Return a single file's source, so that the box need not be able to open it.

        Raises ``GovernedError`` for a file that cannot be read, or is too large.
        """
        try:
            state = _state(path)
            with self._lock:
                known = self._sources.get(path)
            if known is not None and known[0] == state:
                return known[1]
            with os.fdopen(paths.open_file(path), "rb") as file:
                # The state of what is read, whatever has taken its place since.
                state = _state_of(os.fstat(file.fileno()))
                source = file.read(MAX_SOURCE_BYTES + 1)
        except OSError as error:
            raise unreadable(path, error) from error
        if len(source) > MAX_SOURCE_BYTES:
            message = f"{path} is larger than {MAX_SOURCE_BYTES // MIB} MiB"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
        if time.time_ns() - state[-1] > _SETTLED_NS:
            # The state from before it was read: what has changed since is read again next time.
            with self._lock:
                self._sources[path] = (state, source)
        return source

    def stamp(self, path: Path) -> int:
        """Return a number that is another one when a file below ``path`` has changed."""
        with self._lock:
            checked, stamp = self._stamps.get(path, (0.0, 0))
            if checked and time.monotonic() - checked < CHECK_SECONDS:
                return stamp
        stamp = stamp_of(path)
        with self._lock:
            self._stamps[path] = (time.monotonic(), stamp)
        return stamp


def unreadable(path: str, error: OSError) -> GovernedError:
    """Return what to raise: the file may be at fault, or the host has run out of something."""
    if error.errno not in SCARCE:
        message = f"OSError: {path} cannot be read: {error.strerror}"
        return GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    remedy = "raise the service's limits (ulimit -n), or lower max_concurrent in its settings"
    message = f"read {path}: {error.strerror}; {remedy}"
    details = {"operation": "read the plugin", "errno": error.errno, "remedy": remedy}
    return GovernedError(ErrorType.SANDBOX_ERROR, message, details)


def _state(path: str) -> _State:
    """Return what is another one after each write: the change time cannot be set."""
    return _state_of(os.stat(path))  # noqa: PTH116 - as above


def _state_of(found: os.stat_result) -> _State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def stamp_of(path: Path) -> int:
    """Return a number made of the names and states of all files below ``path``.

    Compiled files are left out: they follow from the others. A folder of very many files counts
    as its first ones.
    """
    found: list[tuple[str, _State]] = []
    waiting = [str(path)]
    while waiting and len(found) < _MOST_FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in here[: _MOST_FILES - len(found)]:
            try:
                if entry.is_dir():
                    if entry.name != "__pycache__" and not entry.is_symlink():
                        waiting.append(entry.path)
                else:
                    found.append((entry.path, _state(entry.path)))
            except OSError:
                continue
    return hash(tuple(found))
