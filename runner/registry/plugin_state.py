"""One plugin's state, counts and times, as a registry keeps and shows them.

``registry`` holds an ``Entry`` a plugin and hands out frozen ``PluginStatus`` objects. Nothing
here locks, looks anything up or logs.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.environments.choice import Choice
from toolrunner.runner.registry.plugin_changes import Seen
from toolrunner.runner.registry.suspensions import Standing

AVERAGED_CALLS = 10


class Lack(StrEnum):
    """For want of what a plugin cannot run here."""

    MANIFEST = "manifest"  # it has none that can be used, or its name is taken twice
    ENVIRONMENT = "environment"
    EXTRA = "extra"  # the same, of a bundled plugin for which nobody has installed one yet


class PluginState(StrEnum):
    """What is known of a plugin from its last call."""

    LOADED = "LOADED"
    RUNNING = "RUNNING"
    INITIALIZED = "INITIALIZED"
    FAILED = "FAILED"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One plugin at one moment. ``last_used`` is in UTC; times are ``None`` before the first call.

    ``uptime_seconds`` counts from the registration, ``avg_execution_time_ms`` is the mean of the
    last ten calls. Counts and times are of all calls, also of those that were refused before
    anything ran: each is an error. ``environment``: where its calls find modules, "own" or
    "runner", and "" where it cannot be called for want of one. ``suspended_by``: "breaker",
    "operator", or "" while it takes calls. ``retry_after_seconds``: for how long it takes none,
    where that is known.
    ``failures_in_row``: of all processes of a state folder where there is a breaker, else of this
    registry's own calls. ``last_failure`` outlasts ``reason``, which a success clears.
    """

    name: str
    state: str
    description: str
    version: str
    reason: str
    uptime_seconds: float
    last_used: datetime | None
    success_count: int
    error_count: int
    last_execution_time_ms: int | None
    avg_execution_time_ms: float | None
    in_flight: int
    environment: str = ""
    suspended_by: str = ""
    retry_after_seconds: int | None = None
    failures_in_row: int = 0
    last_failure: str = ""
    last_failure_at: datetime | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it takes calls, and its last one has not failed by its own fault."""
        sick = {PluginState.FAILED, PluginState.UNAVAILABLE}
        return not self.suspended_by and self.state not in sick

    def standing(self, standing: Standing) -> PluginStatus:
        """Return the same of a plugin that stands so."""
        left = standing.seconds_left(time.time())
        return replace(
            self,
            suspended_by=standing.suspended_by,
            retry_after_seconds=(
                math.ceil(left) if standing.suspended_by and math.isfinite(left) else None
            ),
            failures_in_row=standing.failures,
        )


@dataclass(slots=True)
class Entry:
    """What the registry holds of one plugin; it is read and changed under the registry's lock.

    ``settled`` is the state but for calls in flight, ``state`` the one that shows.
    """

    description: str
    version: str
    instance: object
    plugin: Plugin | None = None
    choice: Choice | None = None
    state: PluginState = PluginState.LOADED
    settled: PluginState = PluginState.LOADED
    reason: str = ""
    # Of a call that is about to be counted as FAILED; see ``_state_after``.
    fault: str = ""
    last_failure: str = ""
    last_failure_at: datetime | None = None
    registered: float = field(default_factory=time.monotonic)
    last_used: datetime | None = None
    success_count: int = 0
    error_count: int = 0
    times_ms: deque[int] = field(default_factory=lambda: deque(maxlen=AVERAGED_CALLS))
    in_flight: int = 0
    is_discovered: bool = False

    def is_same(self, other: Entry) -> bool:
        """Whether there is nothing new about the plugin itself."""
        mine = (self.description, self.version, self.plugin, self.choice, self.is_available)
        return mine == (
            other.description,
            other.version,
            other.plugin,
            other.choice,
            other.is_available,
        )

    def seen(self) -> Seen:
        """Return what of it can be told from what it was."""
        return Seen(self.version, "" if self.is_available else self.reason, self.plugin)

    @property
    def lack(self) -> Lack | None:
        """Why it cannot be called, in one word; ``None`` if it can."""
        if self.is_available:
            return None
        if self.choice is None or not self.choice.reason:
            return Lack.MANIFEST
        return Lack.EXTRA if self.choice.is_optional else Lack.ENVIRONMENT

    def choose(self, choice: Choice) -> None:
        """Take up what its calls see from now on, or why there can be none."""
        lacked = self.choice.reason if self.choice is not None else ""
        self.choice = choice
        if choice.reason:
            self.settle(PluginState.UNAVAILABLE)
            self.reason = choice.reason
        elif lacked and not self.is_available and self.reason == lacked:
            self.settle(PluginState.LOADED)
            self.reason = ""
        self.show_running()

    def take_over(self, old: Entry) -> None:
        """Go on with the counts of the entry that this one takes the place of."""
        self.last_used = old.last_used
        self.success_count = old.success_count
        self.error_count = old.error_count
        self.times_ms = old.times_ms
        self.in_flight = old.in_flight
        self.last_failure, self.last_failure_at = old.last_failure, old.last_failure_at
        self.show_running()

    @property
    def is_available(self) -> bool:
        """Whether it can be called."""
        return self.settled is not PluginState.UNAVAILABLE

    def settle(self, state: PluginState) -> None:
        """Take up a state for good; what is in flight may still show over it."""
        self.settled = state
        self.state = state

    def begin(self) -> None:
        """Count a call in."""
        self.in_flight += 1
        self.last_used = datetime.now(UTC)
        self.show_running()

    def record(self, state: str, elapsed_ms: float, *, had_error: bool) -> str:
        """Count a call out, with the state it leaves behind; return its failure, "" if none."""
        self.in_flight = max(0, self.in_flight - 1)
        self.last_used = datetime.now(UTC)
        self.times_ms.append(max(0, round(elapsed_ms)))
        failure = self.fault if state == PluginState.FAILED else ""
        if failure:
            self.last_failure, self.last_failure_at = failure, self.last_used
        if had_error:
            self.error_count += 1
        else:
            self.success_count += 1
        if self.is_available:
            self.settle(self._state_after(state))
        self.show_running()
        return failure

    def _state_after(self, state: str) -> PluginState:
        """Return what a call leaves; LOADED and RUNNING are no verdicts, so nothing changes."""
        if state == PluginState.INITIALIZED:
            self.reason = ""
        if state == PluginState.FAILED:
            # What another call's success cleared meanwhile was that of an earlier failure.
            self.reason, self.fault = self.fault or self.reason, ""
        if state in {PluginState.INITIALIZED, PluginState.FAILED, PluginState.UNAVAILABLE}:
            return PluginState(state)
        return self.settled

    def show_running(self) -> None:
        """Show RUNNING over the settled state while any call is in flight."""
        if self.in_flight and self.is_available:
            self.state = PluginState.RUNNING

    def status(self, name: str) -> PluginStatus:
        """Return how it stands at this moment."""
        return PluginStatus(
            name=name,
            state=self.state.value,
            description=self.description,
            version=self.version,
            reason=self.reason,
            uptime_seconds=time.monotonic() - self.registered,
            last_used=self.last_used,
            success_count=self.success_count,
            error_count=self.error_count,
            last_execution_time_ms=self.times_ms[-1] if self.times_ms else None,
            avg_execution_time_ms=(
                sum(self.times_ms) / len(self.times_ms) if self.times_ms else None
            ),
            in_flight=self.in_flight,
            environment=self.choice.kind if self.choice is not None else "",
            last_failure=self.last_failure,
            last_failure_at=self.last_failure_at,
        )
