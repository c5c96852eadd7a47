"""What one command line works with: the options that all commands share, and what follows.

``options`` makes a ``Session`` for each command. Settings, registry and runner are made when a
command asks for them, so that ``--help`` and ``doctor`` do not fail over a broken setting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from toolrunner.api.cli.console import Terminal
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import ToolRunner


@dataclass(frozen=True, slots=True)
class Shared:
    """The options that stand before or after a command's name."""

    plugins: tuple[str, ...] = ()
    state: str | None = None
    as_json: bool = False
    debug: bool = False
    verbose: bool = False

    def joined(self, other: Shared) -> Shared:
        """Return both together; where only one can be, ``other`` wins."""
        return Shared(
            (*self.plugins, *other.plugins),
            self.state if other.state is None else other.state,
            self.as_json or other.as_json,
            self.debug or other.debug,
            self.verbose or other.verbose,
        )


@dataclass(frozen=True)
class Session:
    """One command's surroundings."""

    shared: Shared
    terminal: Terminal = field(default_factory=Terminal)

    @cached_property
    def settings(self) -> Settings:
        """The settings in force; raises SettingsError."""
        return Settings.load(state=self.shared.state)

    @cached_property
    def registry(self) -> PluginRegistry:
        """Every plugin that is known here; raises DiscoveryError."""
        return PluginRegistry.discover(self.shared.plugins, settings=self.settings)

    def tool_runner(self, registry: PluginRegistry | None = None) -> ToolRunner:
        """Return a runner for these plugins; whoever asks closes it."""
        return ToolRunner(self.registry if registry is None else registry, settings=self.settings)
