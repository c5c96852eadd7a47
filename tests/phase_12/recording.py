"""A registry that keeps what it was told of each call."""

from __future__ import annotations

import threading

from toolrunner import PluginRegistry


class RecordingRegistry(PluginRegistry):
    """The real one, which also notes each call's beginning and end, and the thread of both."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.ended: list[tuple[str, str, bool]] = []
        self.times_ms: list[int] = []
        self.threads: set[int] = set()

    def mark_running(self, name: str) -> None:
        """Note a call's beginning."""
        self.begun.append(name)
        self.threads.add(threading.get_ident())
        super().mark_running(name)

    def update_execution_metrics(
        self, plugin_name: str, state: str, elapsed_ms: int, had_error: bool
    ) -> None:
        """Note a call's end."""
        assert type(elapsed_ms) is int
        assert elapsed_ms >= 0
        self.ended.append((plugin_name, state, had_error))
        self.times_ms.append(elapsed_ms)
        self.threads.add(threading.get_ident())
        super().update_execution_metrics(plugin_name, state, elapsed_ms, had_error)
