"""Plugins: running one, looking at them, reading them anew. Below it there is only ToolRunner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.tool_runner import MaybeResult, ToolRunner


@dataclass(frozen=True, slots=True)
class Executed:
    """One call that has ended: ``outcome`` is "success" or the type of its error."""

    plugin: str
    outcome: str
    seconds: float
    call: Call


Observer = Callable[[Executed], None]


def unobserved(_executed: Executed) -> None:
    """Do nothing: nobody wants to know."""


class PluginManagementService:
    """What can be done with plugins. Thread-safe."""

    def __init__(self, tool_runner: ToolRunner, *, observer: Observer = unobserved) -> None:
        """``observer`` hears of each call when it has ended, in the thread of the call."""
        self._tool_runner = tool_runner
        self._observer = observer

    def execute_plugin(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once, as ``ToolRunner.run`` does."""
        call = call if call is not None else Call()
        started = time.monotonic()
        result, error = self._tool_runner.run(plugin_name, payload, call=call)
        outcome = "success" if error is None else error["error"]["type"]
        # A name that nobody knows is the caller's text: it may not become anybody's label.
        name = plugin_name if self._tool_runner.registry.get_state(plugin_name) else ""
        self._observer(Executed(name, outcome, time.monotonic() - started, call))
        return result, error

    def list_plugins(self) -> list[PluginStatus]:
        """Return the status of every plugin, sorted by name, unavailable ones included."""
        return self._tool_runner.registry.list_all()

    def plugin_names(self) -> list[str]:
        """Return the name of every plugin, sorted; nothing is read from disk."""
        return self._tool_runner.registry.list_plugins()

    def get_plugin(self, plugin_name: str) -> PluginStatus | None:
        """Return a plugin's status, ``None`` when unknown."""
        return self._tool_runner.registry.get_status(plugin_name)

    def reload(self) -> None:
        """Read all plugins anew; calls in flight end as they began.

        Raises DiscoveryError, and SettingsError, and leaves everything as it was.
        """
        self._tool_runner.reload()
