"""Steps that may fail for a while: tried ever more seldom, and told once when that begins and ends.

What fails ten times a second all night is one line of the log, and no load. For threads that serve
by themselves: those of jobs, and of webhooks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_SECONDS, MOST_SECONDS = 0.1, 10.0
T = TypeVar("T")


class Trouble:
    """Whether something fails now, and when it is tried again. Thread-safe."""

    def __init__(
        self, log: logging.Logger, plain: type[Exception], failing: str, over: str
    ) -> None:
        """``failing`` and ``over`` are what the log says; the error follows the first one.

        ``plain`` errors say themselves what to do; of all others the log has the traceback.
        """
        self._log, self._plain = log, plain
        self._failing, self._over = failing, over
        self._lock = threading.Lock()
        self._pause_seconds = 0.0
        self._next = 0.0
        self._last: tuple[float, str] | None = None  # when it has failed since it worked, and how

    @property
    def is_due(self) -> bool:
        """Whether it is time for a try: always, while nothing fails."""
        return time.monotonic() >= self._next

    def lately(self, seconds: float) -> str:
        """Return how it has failed within so many seconds, and has not worked since; "" if not."""
        with self._lock:
            last = self._last
        return last[1] if last is not None and time.monotonic() - last[0] < seconds else ""

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Do a step, also when it is not time; return ``None`` if it has failed."""
        try:
            done = step()
        except Exception as error:  # noqa: BLE001 - logged; a bug may not end who serves
            self.failed(error)
            return None
        self.worked()
        return done

    def failed(self, error: Exception) -> None:
        """Note that it has failed now."""
        with self._lock:
            is_new = not self._pause_seconds
            self._pause_seconds = min(MOST_SECONDS, 2 * self._pause_seconds or FIRST_SECONDS)
            now = time.monotonic()
            self._next = now + self._pause_seconds
            self._last = now, str(error)
        if is_new:
            trace = None if isinstance(error, self._plain) else error
            self._log.error("%s: %s", self._failing, error, exc_info=trace)

    def worked(self) -> None:
        """Note that it works now."""
        with self._lock:
            is_over = self._pause_seconds > 0
            self._pause_seconds = self._next = 0.0
            self._last = None
        if is_over:
            self._log.warning("%s", self._over)
