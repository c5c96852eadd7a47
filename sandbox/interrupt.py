"""What may end a call from another thread: the caller's cancel, the watchdog's limit.

Set once and for all; the thread that serves the call is woken through a descriptor that exists
only while it waits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import LimitHit

_ONE = (1).to_bytes(8, sys.byteorder)  # what an event descriptor adds


def _wakeable() -> tuple[int, int]:
    """Return descriptors to wait on and to wake by: the same one, where there is such a thing."""
    if os.uname().sysname == "Linux":
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return event, event
    read, write = os.pipe()
    os.set_blocking(write, False)
    return read, write


class Interrupt:
    """A latch with two reasons, safe to set from any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._limit: LimitHit | None = None
        self._read = self._write = -1
        self._on_cancel: Callable[[], None] | None = None
        forks.in_each_child(self, Interrupt._let_go)

    def _let_go(self) -> None:
        self._lock = threading.Lock()
        self._on_cancel = None
        self._close()

    @property
    def cancelled(self) -> bool:
        """Whether the caller has withdrawn the call."""
        return self._cancelled

    @property
    def limit(self) -> LimitHit | None:
        """The limit that the watchdog saw passed."""
        return self._limit

    def cancel(self) -> None:
        """Withdraw the call."""
        with self._lock:
            self._cancelled = True
            self._wake()
            if self._on_cancel is not None:
                self._on_cancel()

    def hit(self, limit: LimitHit) -> None:
        """Report a limit as passed; the first one stays."""
        with self._lock:
            if self._limit is None:
                self._limit = limit
                self._wake()

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call ``wake`` if the call is withdrawn in the meantime, or has been already.

        ``wake`` may be called from any thread, and must not wait.
        """
        with self._lock:
            self._on_cancel = wake
            if self._cancelled:
                wake()
        try:
            yield
        finally:
            with self._lock:
                self._on_cancel = None

    def _wake(self) -> None:
        if self._write >= 0:
            os.write(self._write, _ONE)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the latch is set."""
        return self._read

    def __enter__(self) -> Interrupt:
        with self._lock:
            self._read, self._write = _wakeable()
            if self._cancelled or self._limit:
                self._wake()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        descriptors = {self._read, self._write} - {-1}
        self._read = self._write = -1
        for descriptor in descriptors:
            os.close(descriptor)
