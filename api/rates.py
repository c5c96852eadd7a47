"""How often each key may ask: a file for each in the state folder, which all processes share.

Only ``keys`` calls it. A count is worth nothing after a crash of the host, so none is synced: one
request costs a lock of the file, a read and a write. The kernel gives up a dead process's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import struct
import threading
import time
from pathlib import Path

_LOG = logging.getLogger("toolrunner.keys")
_SECONDS_A_MINUTE = 60.0
# How many requests may be made now, and as of when.
_BUCKET = struct.Struct("<dd")


class Rates:
    """The buckets of one state folder's keys. Thread-safe; several processes may have it open."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made with the first count."""
        self._folder = folder
        self._lock = threading.Lock()
        # Where nothing can be written: the buckets of this process alone.
        self._own: dict[str, bytes] = {}

    def take(self, key_id: str, per_minute: int) -> float:
        """Count one request; return 0, or the seconds to wait for a key that is over its rate.

        A minute's worth of requests can be made at once; then they come back evenly. The count is
        of all processes together. Where none can be written, as on a full disk, each process keeps
        the rate by itself.
        """
        try:
            return self._taken(key_id, per_minute)
        except OSError as error:
            with self._lock:
                if key_id not in self._own:
                    _LOG.error("the rate of key %s is kept by each worker alone: %s", key_id, error)
                wait, bucket = _poured(self._own.get(key_id, b""), per_minute)
                self._own[key_id] = bucket
            return wait

    def _taken(self, key_id: str, per_minute: int) -> float:
        descriptor = self._opened(key_id)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            wait, bucket = _poured(os.pread(descriptor, _BUCKET.size, 0), per_minute)
            os.pwrite(descriptor, bucket, 0)
        finally:
            os.close(descriptor)
        return wait

    def forget(self, key_id: str) -> None:
        """Remove what is left of a key that was revoked."""
        with contextlib.suppress(OSError):
            (self._folder / key_id).unlink()

    def _opened(self, key_id: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._folder / key_id, flags, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(self._folder / key_id, flags, 0o600)


def _poured(data: bytes, per_minute: int) -> tuple[float, bytes]:
    """Return the seconds to wait, and the bucket after one request."""
    most, now = float(per_minute), time.time()
    rate = per_minute / _SECONDS_A_MINUTE
    # One that is new, or of which a crash has left a piece, is full.
    tokens, filled = _BUCKET.unpack(data) if len(data) == _BUCKET.size else (most, now)
    if not (math.isfinite(tokens) and math.isfinite(filled)):
        tokens, filled = most, now
    # A clock that was set back lets nothing flow out again.
    tokens = min(most, max(0.0, tokens) + max(0.0, now - filled) * rate)
    wait = 0.0 if tokens >= 1 else (1 - tokens) / rate
    return wait, _BUCKET.pack(tokens if wait else tokens - 1, now)
