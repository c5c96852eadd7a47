"""The audit log: who asked for what, and what came of it. Lines of JSON that are only appended.

Every line is one write to a file opened for appending, so that several processes share it. A file
that was moved away is made anew. Where servers of several machines share their jobs,
``cluster_audit`` has what all of them wrote; ``audit_choice`` chooses.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from toolrunner.runner.errors import cut_end, harmless
from toolrunner.runner.state.reopened import remedy

_LOG = logging.getLogger("toolrunner.audit")
_MOST_BYTES = 512
_SILENT_SECONDS = 60.0
# How much of a file is looked through for one page.
_MOST_READ_BYTES = 8 << 20

Plain = str | int | None
# Or a short list of things, such as files by their names and sizes.
Value = Plain | list[dict[str, Plain]]
# A line, with ``seq``, its place among all of them.
AuditEntry = dict[str, Any]


class Audit(Protocol):
    """Where lines are written, and read. Thread-safe."""

    def record(self, **fields: Value) -> None:
        """Append one line. What cannot be written is in the program's own log instead."""

    def problem(self) -> str:
        """Return why lines are in the program's own log instead; "" while they can be written."""

    def read(self, *, limit: int, before: int | None, caller: str | None) -> list[AuditEntry]:
        """Return the newest lines, of those that are older than the one of the ``seq`` ``before``.

        Only those of a key's name, if one is given. Raises OSError.
        """

    def close(self) -> None:
        """Let go of it."""


def entry_of(fields: Mapping[str, Value]) -> str:
    """Return a line of now, without its end."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, **{name: _shown(value) for name, value in fields.items()}})


class AuditLog:
    """One file; see ``Audit``. Several processes may write to it."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it, as soon as that can be."""
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = -1
        self._trouble = ""
        self._unwritten = 0
        self._next_word = 0.0
        with suppress(OSError):
            self._follow()

    def record(self, **fields: Value) -> None:
        self.append(entry_of(fields))

    def append(self, line: str) -> None:
        """Append a line that is written already."""
        try:
            with self._lock:
                self._follow()
                self._append(f"{line}\n".encode("ascii"))
                self._trouble = ""
                unwritten, self._unwritten, self._next_word = self._unwritten, 0, 0.0
        except OSError as error:
            self._failed(error)
            _LOG.warning("audit: %s", line)
        else:
            if unwritten:
                words = "the audit log %s is written again; %d lines are in this log instead"
                _LOG.warning(words, self._path, unwritten)

    def _failed(self, error: OSError) -> None:
        """Say why lines are in the program's own log instead, once a minute."""
        now = time.monotonic()
        with self._lock:
            self._trouble = _told(error)
            self._unwritten += 1
            if now < self._next_word:
                return
            self._next_word = now + _SILENT_SECONDS
            unwritten = self._unwritten
        words = "the audit log %s cannot be written (%s): its lines are in this log, %d so far"
        _LOG.error(words, self._path, error, unwritten)

    def problem(self) -> str:
        with self._lock:
            try:
                self._follow()
            except OSError as error:
                self._trouble = _told(error)
            if not self._trouble:
                return ""
            return (
                f"the audit log {self._path} cannot be written, its lines are in the server's log"
                f" ({self._trouble})"
            )

    def read(self, *, limit: int, before: int | None, caller: str | None) -> list[AuditEntry]:
        """Return those of this file alone, and no more than a part of a large one."""
        found: list[AuditEntry] = []
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            end = min(file.seek(0, os.SEEK_END), sys.maxsize if before is None else before)
            first = max(0, end - _MOST_READ_BYTES)
            file.seek(first)
            data = file.read(end - first)
            # What is cut off at the front is on a page that comes later, if that has its begin.
            start = data.find(b"\n") + 1 if first else 0
            for line in reversed(data[start:].splitlines(keepends=True)):
                end -= len(line)
                entry = _entry(line, end)
                if entry is not None and caller in {None, entry.get("caller")}:
                    found.append(entry)
                    if len(found) == limit:
                        break
        return found

    def close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: bytes) -> None:
        # While another process writes, its line may be there in part.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            data = b"\n" + line if self._ends_in_a_piece() else line
            if os.write(self._descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, "a piece of the line was written")
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _ends_in_a_piece(self) -> bool:
        """Tell whether the last line was cut off, by a disk that was full, whoever wrote it."""
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _follow(self) -> None:
        """Write to the file of this name, also after another was moved away from it."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            now = None
        mine = os.fstat(self._descriptor) if self._descriptor >= 0 else None
        is_same = now and mine and (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)
        if not is_same:
            new = _open(self._path)
            if mine is not None:
                os.close(self._descriptor)
            self._descriptor = new


def _entry(line: bytes, seq: int) -> AuditEntry | None:
    """Return a line of the file; ``None`` for a piece of one, as a full disk leaves it."""
    try:
        read = json.loads(line)
    except ValueError:
        return None
    return {"seq": seq, **read} if isinstance(read, dict) else None


def _told(error: OSError) -> str:
    return f"{error.strerror}; {remedy(error, 'it and its folder')}"


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _shown(value: Value) -> Value:
    if isinstance(value, list):
        return [{name: _plain(inner) for name, inner in one.items()} for one in value]
    return _plain(value)


def _plain(value: Plain) -> Plain:
    return harmless(cut_end(value, _MOST_BYTES)) if isinstance(value, str) else value
