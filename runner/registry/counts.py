"""Counts and times of plugins' calls that several processes have together, wherever they are kept.

A registry that is given some writes every call to them, and shows what they say.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from toolrunner.runner.registry.plugin_state import AVERAGED_CALLS, PluginState, PluginStatus


class SharedCounts(Protocol):
    """What is counted together. Thread-safe; nothing here ends a call."""

    def problem(self) -> str:
        """Return what is wrong with the counts, and what to do about it; "" if nothing."""

    def set_aside(self) -> str:
        """Return where the counts are that could not be used, and what to do; "" if none are."""

    def begin(self, name: str) -> None:
        """Count a call in."""

    def record(
        self,
        name: str,
        state: PluginState | None,
        elapsed_ms: int,
        *,
        had_error: bool,
        reason: str = "",
        failure: str = "",
    ) -> None:
        """Count a call out, with the state that it has left behind, and the reason of that.

        ``state``: ``None`` where the call says nothing of its plugin. ``failure``: why it failed
        by the plugin's own fault.
        """

    def settle(self, name: str, state: PluginState, reason: str) -> None:
        """Note a state that no call has left behind, and why."""

    def applied(self, own: list[PluginStatus]) -> list[PluginStatus]:
        """Return the statuses of this process with the counts and times of all."""

    def close(self) -> None:
        """Write what waits, and count this process's calls in flight no more."""


@dataclass(slots=True)
class Uncounted:
    """What has become of a plugin since its counts were last written."""

    in_flight: int = 0
    successes: int = 0
    errors: int = 0
    state: PluginState | None = None
    reason: str = ""
    failure: str = ""
    failed_at: float = 0.0
    last_used: float | None = None
    times: deque[int] = field(default_factory=lambda: deque(maxlen=AVERAGED_CALLS))

    def end(
        self,
        state: PluginState | None,
        elapsed_ms: int,
        *,
        had_error: bool,
        reason: str,
        failure: str,
    ) -> None:
        """Count a call out."""
        self.in_flight -= 1
        self.successes += not had_error
        self.errors += had_error
        if state is not None:
            self.state, self.reason = state, reason
        if failure:
            self.failure, self.failed_at = failure, time.time()
        self.times.append(max(0, elapsed_ms))


class Unwritten(dict[str, Uncounted]):
    """What waits to be written of each plugin, by name."""

    def used(self, name: str) -> Uncounted:
        """Return what waits of a plugin; it has been used now."""
        counts = self.setdefault(name, Uncounted())
        counts.last_used = time.time()
        return counts

    def settle(self, name: str, state: PluginState, reason: str) -> None:
        """Note a state that no call has left behind, and why."""
        counts = self.setdefault(name, Uncounted())
        counts.state, counts.reason = state, reason


@dataclass(frozen=True, slots=True)
class Counted:
    """What is known of a plugin from the calls of all; ``times`` are the last ones, in order."""

    state: str
    reason: str
    successes: int
    errors: int
    last_used: float | None
    times: Sequence[int]
    in_flight: int
    failure: str = ""
    failed_at: float = 0.0


def merged(status: PluginStatus, counted: Counted | None) -> PluginStatus:
    """Return a process's own status with the counts and times of all."""
    if counted is None:
        return status
    state, reason = status.state, counted.reason
    if state == PluginState.UNAVAILABLE:
        reason = status.reason  # each process's own to know
    else:
        state = PluginState.RUNNING.value if counted.in_flight else counted.state
    times = counted.times
    failed_at = datetime.fromtimestamp(counted.failed_at, UTC) if counted.failure else None
    return replace(
        status,
        state=state,
        reason=reason,
        success_count=counted.successes,
        error_count=counted.errors,
        last_used=(
            None if counted.last_used is None else datetime.fromtimestamp(counted.last_used, UTC)
        ),
        last_execution_time_ms=times[-1] if times else None,
        avg_execution_time_ms=sum(times) / len(times) if times else None,
        in_flight=counted.in_flight,
        last_failure=counted.failure or status.last_failure,
        last_failure_at=failed_at or status.last_failure_at,
    )
