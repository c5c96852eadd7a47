"""What came of a governed call, as a test sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class GovernedCallError(AssertionError):
    """A call failed that had to succeed; the message says how."""


@dataclass(frozen=True)
class Outcome:
    """What came of one governed call: ``result``, or ``error`` as the HTTP API would show it.

    ``usage``: wall_ms, cpu_ms, peak_memory_bytes, processes and others. ``isolation``: the layers
    that confined it. ``log``: what the plugin and the command wrote. ``artifacts``: the files that
    it gave back, by name.
    """

    plugin: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    usage: dict[str, Any] = field(default_factory=dict, repr=False)
    isolation: dict[str, Any] = field(default_factory=dict, repr=False)
    log: str = field(default="", repr=False)
    artifacts: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the plugin gave a result."""
        return self.error is None

    @property
    def error_type(self) -> str | None:
        """Such as "MemoryLimitExceeded"; ``None`` for a result."""
        return None if self.error is None else str(self.error["type"])

    @property
    def is_a_limit(self) -> bool:
        """Whether a limit ended the call."""
        return bool(self.error_type and self.error_type.endswith("LimitExceeded"))

    def unwrap(self) -> dict[str, Any]:
        """Return the result; fail the test with the whole story when there is none."""
        __tracebackhide__ = True
        if self.result is not None:
            return self.result
        assert self.error is not None
        story = f"{self.plugin}: {self.error['type']}: {self.error['message']}"
        raise GovernedCallError(f"{story}\n{self.log}".rstrip())
