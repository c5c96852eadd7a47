"""The caller's handle on one call: cancel it, hear its progress, see what it used.

Made by the caller, given to ``ToolRunner.run``, filled in by it. One handle serves one call.
``artifacts`` has the files that a call which has succeeded has given back beside its result.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator

from toolrunner.runner.errors import CancelledBy
from toolrunner.sandbox import forks
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.ending import Isolation, Usage
from toolrunner.sandbox.interrupt import Interrupt


class Call:
    """One call of a plugin. ``cancel`` may be called from any thread, before or during it."""

    def __init__(
        self,
        on_progress: Callable[[float, str], None] | None = None,
        *,
        call_id: str | None = None,
        caller: str = "",
    ) -> None:
        """``on_progress(fraction, message)`` is called in the thread that runs the call.

        ``fraction`` is between 0 and 1. What it raises is logged and ends nothing. ``call_id``:
        32 hexadecimal digits that nobody else uses; made up if not given. ``caller``: on whose
        behalf; while calls wait for their turn, all callers have theirs alike.
        """
        self.call_id: str = call_id or uuid.uuid4().hex
        self.caller = caller
        self.on_progress = on_progress
        self.usage: Usage = Usage()
        self.isolation: Isolation = Isolation()
        self.log_tail: str = ""
        self.artifacts: tuple[Artifact, ...] = ()
        # By which door it came, for the log: "analyze", "page" or "job" of a server.
        self.door = ""
        # What the plugin is given of the trace that the call is in: set before it begins.
        self.traceparent = ""
        # When its turn came, and when its request was sent; on the monotonic clock, 0 for never.
        self.placed, self.began = 0.0, 0.0
        self.interrupt = Interrupt()
        self.cancelled_by = CancelledBy.CALLER
        self.used = False
        # Called once its turn has come, in its thread; a GovernedError is the call's, and nothing
        # begins.
        self.on_begin: Callable[[], None] | None = None
        # What the host lacks to begin it with: a thread.
        self.without: OSError | None = None
        self.is_under_way = False
        self._is_elsewhere = False
        forks.in_each_child(self, Call._in_child)

    def _in_child(self) -> None:
        self._is_elsewhere, self.is_under_way = self.is_under_way, False

    def cancel(self, by: CancelledBy = CancelledBy.CALLER) -> None:
        """Withdraw the call: it is killed, and its outcome is ``Cancelled``.

        ``by``: who does, and so is blamed; the first one counts. A call that has replied already
        keeps its outcome. Raises ForkedError in a fork of the process in which it runs.
        """
        if self._is_elsewhere:
            message = "this call runs in the process that this one was forked from: cancel it there"
            raise forks.ForkedError(message)
        if not self.interrupt.cancelled:
            self.cancelled_by = by
        self.interrupt.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the call has been withdrawn."""
        return self.interrupt.cancelled


@contextlib.contextmanager
def under_way(call: Call) -> Iterator[None]:
    """Let a fork that is made meanwhile know that the call is another process's."""
    call.is_under_way = True
    try:
        yield
    finally:
        call.is_under_way = False
