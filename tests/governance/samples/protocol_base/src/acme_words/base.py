"""What a plugin of the host looks like."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TextPlugin(Protocol):
    name: str

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer one call."""
        ...


class PluginBase:
    """What plugins share."""

    name = ""

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError
