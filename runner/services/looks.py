"""Looks that may take long, done in the background, so that nobody waits long for what they find.

Used for probes: whoever asks whether a server is ready gives up soon, and is told what is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from toolrunner.sandbox import forks
from toolrunner.sandbox.shortage import NoThreadError, started

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """What was found last, ``None`` before that, and how long a newer look is under way; else 0."""

    found: T | None
    waiting_seconds: float = 0.0


class Looks(Generic[T]):
    """One look at a time, begun by who asks. Thread-safe; a fork begins anew."""

    def __init__(self, look: Callable[[], T], name: str) -> None:
        """``look`` may take its time; ``name`` is its thread's."""
        self._look, self._name = look, name
        self._begin()
        forks.in_each_child(self, Looks._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._since: float | None = None  # when the look that is under way has begun
        self._found: T | None = None
        self._bug: Exception | None = None

    @property
    def found(self) -> T | None:
        """What was found last; ``None`` before the first look has ended."""
        return self._found

    def newest(self, seconds: float) -> Known[T]:
        """Return what a look finds that begins now, or is under way, if it ends in time.

        Else what the last one has found. Raises what a look has raised.
        """
        with self._changed:
            if self._since is None and not self._start():
                return Known(self._found)
            since = self._since
            self._changed.wait_for(lambda: self._since != since, seconds)
            if since is not None and self._since == since:
                return Known(self._found, time.monotonic() - since)
            if self._bug is not None:
                raise self._bug
            return Known(self._found)

    def _start(self) -> bool:
        """Begin a look; ``False`` if it was done right here, where there is no thread for it."""
        self._since = time.monotonic()
        try:
            started(self._work, self._name)
        except NoThreadError:
            self._since = None
            self._found = self._look()
            return False
        return True

    def _work(self) -> None:
        found, bug = self._found, None
        try:
            found = self._look()
        except Exception as error:  # noqa: BLE001 - it is for who asks
            bug = error
        with self._changed:
            self._found, self._bug, self._since = found, bug, None
            self._changed.notify_all()
