"""What a supervisor does now and then, beside looking after its workers: short, and never in vain.

A bug in it is logged, and costs nobody a worker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_LOG = logging.getLogger("toolrunner.serve")


class Ticker:
    """Calls something every so many seconds, for who looks often enough."""

    def __init__(self, seconds: float, tick: Callable[[], None]) -> None:
        self._seconds = seconds
        self._tick = tick
        self.due = time.monotonic()

    def look(self) -> None:
        """Call it if it is due."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + self._seconds
        try:
            self._tick()
        except Exception:  # noqa: BLE001 - logged; what it is for is seen by nobody for a moment
            _LOG.exception("the supervisor goes on without it: a bug")
