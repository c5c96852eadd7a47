"""Tells those who wait for it that a reload has changed plugins. For an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

Listener = Callable[[Collection[str]], None]


class Changes:
    """Who hears of changed plugins."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Call ``listener`` with the names of plugins that have changed, while the block lasts."""
        token = object()
        self._listeners[token] = listener
        try:
            yield
        finally:
            del self._listeners[token]

    def tell(self, plugins: Collection[str]) -> None:
        """Say that these are new, gone, or not what they were."""
        for listener in list(self._listeners.values()):
            listener(plugins)
