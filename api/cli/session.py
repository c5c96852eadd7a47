"""What one command line works with: the options that all commands share, and what follows.

``options`` makes a ``Session`` for each command. Settings, registry and runner are made when a
command asks for them, so that ``--help`` and ``doctor`` do not fail over a broken setting.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    keep_failures: str | None = None
    # Whether a plugin of --plugins takes the place of one of the settings that has its name.
    paths_win: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings in force; raises SettingsError."""
        return self.load_settings()

    def load_settings(self) -> Settings:
        """Read the settings as they are now; raises SettingsError."""
        return Settings.load(state=self.shared.state, keep_failures=self.keep_failures)

    def keeping(self, failures: str | None) -> Session:
        """Return the same with the folder for failed calls that a command was given, if it was."""
        return self if failures is None else replace(self, keep_failures=failures)

    @cached_property
    def registry(self) -> PluginRegistry:
        """Every plugin that is known here; raises DiscoveryError."""
        if self.paths_win:
            return PluginRegistry.discover_over(self.shared.plugins, self.settings)
        return PluginRegistry.discover(self.shared.plugins, settings=self.settings)

    @cached_property
    def beneath(self) -> PluginRegistry:
        """What would be known without ``--plugins``."""
        return PluginRegistry.discover((), settings=self.settings)

    def tool_runner(self, registry: PluginRegistry | None = None) -> ToolRunner:
        """Return a runner for these plugins; whoever asks closes it."""
        return ToolRunner(self.registry if registry is None else registry, settings=self.settings)
