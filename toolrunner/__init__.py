"""Toolrunner: run other people's plugins, each call in a confined process of its own.

What applications use stands here. It is imported when it is first asked for: the command line and
the pytest plugin do not wait for what they do not need.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolrunner.runner.call import Call
    from toolrunner.runner.registry.registry import PluginRegistry
    from toolrunner.runner.tool_runner import ToolRunner
    from toolrunner.sandbox.artifacts import Artifact

__all__ = ["Artifact", "Call", "PluginRegistry", "ToolRunner"]

_HOMES = {
    "Artifact": "toolrunner.sandbox.artifacts",
    "Call": "toolrunner.runner.call",
    "PluginRegistry": "toolrunner.runner.registry.registry",
    "ToolRunner": "toolrunner.runner.tool_runner",
}


def __getattr__(name: str) -> object:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - nobody else needs it

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
