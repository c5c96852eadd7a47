"""Governed plugin calls: ``ToolRunner`` runs them, ``PluginRegistry`` knows and counts them."""

from runner.call import Call
from runner.registry import PluginRegistry
from runner.tool_runner import ToolRunner

__all__ = ["Call", "PluginRegistry", "ToolRunner"]
