"""When to look at a job again, for what waits in an event loop: its store calls, or time is over.

Which of the two it is, the store knows: see ``JobStore.following``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from toolrunner.runner.services.job_management import JobManagementService

LEAST_SECONDS = 0.05


class Changes:
    """What may have happened to one job. For one task of an event loop."""

    def __init__(self, least_seconds: float) -> None:
        """Where a store calls nobody: after ``least_seconds`` first, then ever later."""
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._least = self._pause = least_seconds
        self.most_seconds = least_seconds
        self._next = 0.0

    def call(self) -> None:
        """Have the task look: from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and the task with it
            self._loop.call_soon_threadsafe(self._heard.set)

    def hurry(self) -> None:
        """Look again soon, where nobody calls: something happens to the job just now."""
        self._pause = self._least if math.isfinite(self.most_seconds) else math.inf
        self._next = time.monotonic() + self._pause

    async def wait(self, seconds: float) -> bool:
        """Wait for at most so long; return whether to look."""
        left = min(seconds, self._next - time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), max(left, 0.0))
        now = time.monotonic()
        is_due = self._heard.is_set() or now >= self._next
        if is_due:
            self._heard.clear()
            self._pause = min(2 * self._pause, self.most_seconds)
            self._next = now + self._pause
        return is_due


@contextmanager
def following(
    jobs: JobManagementService, job_id: str, *, least_seconds: float = LEAST_SECONDS
) -> Iterator[Changes]:
    """Follow a job while the block lasts; look once at its beginning. Raises NoThreadError."""
    changes = Changes(least_seconds)
    with jobs.following(job_id, changes.call) as changes.most_seconds:
        changes.hurry()
        yield changes
