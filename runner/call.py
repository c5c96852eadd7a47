"""The caller's handle on one call: cancel it, hear its progress, see what it used.

Made by the caller, given to ``ToolRunner.run``, filled in by it. One handle serves one call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from sandbox.ending import Isolation, Usage
from sandbox.interrupt import Interrupt


class Call:
    """One call of a plugin. ``cancel`` may be called from any thread, before or during it."""

    def __init__(self, on_progress: Callable[[float, str], None] | None = None) -> None:
        """``on_progress(fraction, message)`` is called in the thread that runs the call.

        ``fraction`` is between 0 and 1. What it raises is logged and ends nothing.
        """
        self.call_id: str = uuid.uuid4().hex
        self.on_progress = on_progress
        self.usage: Usage = Usage()
        self.isolation: Isolation = Isolation()
        self.log_tail: str = ""
        self.interrupt = Interrupt()
        self.used = False

    def cancel(self) -> None:
        """Withdraw the call: it is killed, and its outcome is ``Cancelled``.

        A call that has replied already keeps its outcome.
        """
        self.interrupt.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the caller has withdrawn the call."""
        return self.interrupt.cancelled
