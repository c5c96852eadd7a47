"""Plugins: running one, looking at them, reading them anew. Below it there is only ToolRunner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from toolrunner.plugins.errors import ManifestError
from toolrunner.plugins.manifest import Manifest
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.environments.store import Environment
from toolrunner.runner.registry.offers import MaybeOffers, Offer
from toolrunner.runner.registry.plugin_changes import Seen
from toolrunner.runner.registry.plugin_state import Lack, PluginStatus
from toolrunner.runner.registry.suspensions import Standing
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import MaybeResult, ToolRunner


@dataclass(frozen=True, slots=True)
class Executed:
    """One call that has ended: ``outcome`` is "success" or the type of its error.

    ``error``: the public half of its envelope, "" in ``plugin`` a name that nobody knows.
    """

    plugin: str
    outcome: str
    seconds: float
    call: Call
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A plugin, and who takes jobs of it: ``None`` without a cluster, or if nobody can tell."""

    status: PluginStatus
    offers: tuple[Offer, ...] | None


Observer = Callable[[Executed], None]


def unobserved(_executed: Executed) -> None:
    """Do nothing: nobody wants to know."""


class Tracing(Protocol):
    """Writes down what each call is a part of, while it runs."""

    def begin(self, call: Call) -> Callable[[str, str], None]:
        """Take note of a call that begins, in its thread; return what hears how it has ended.

        That is called with the plugin's name, "" for an unknown one, and the outcome.
        """


class PluginManagementService:
    """What can be done with plugins. Thread-safe."""

    def __init__(self, tool_runner: ToolRunner, *, observer: Observer = unobserved) -> None:
        """``observer`` hears of each call when it has ended, in the thread of the call."""
        self._tool_runner = tool_runner
        self._observer = observer
        self._tracing: Tracing | None = None

    def trace_with(self, tracing: Tracing) -> None:
        """Have all calls from here on be parts of traces."""
        self._tracing = tracing

    def execute_plugin(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once, as ``ToolRunner.run`` does."""
        call = call if call is not None else Call()
        ended = None if self._tracing is None else self._tracing.begin(call)
        started = time.monotonic()
        result, error = self._tool_runner.run(plugin_name, payload, call=call)
        outcome = "success" if error is None else error["error"]["type"]
        # A name that nobody knows is the caller's text: it may not become anybody's label.
        name = plugin_name if self._tool_runner.registry.get_state(plugin_name) else ""
        if ended is not None:
            ended(name, outcome)
        seconds, public = time.monotonic() - started, None if error is None else error["error"]
        self._observer(Executed(name, outcome, seconds, call, public))
        return result, error

    def list_plugins(self) -> list[PluginStatus]:
        """Return the status of every plugin, sorted by name, unavailable ones included."""
        return self._tool_runner.registry.list_all()

    def plugin_names(self) -> list[str]:
        """Return the name of every plugin, sorted; nothing is read from disk."""
        return self._tool_runner.registry.list_plugins()

    def manifests(self) -> dict[str, Manifest]:
        """Return the manifest of each plugin that can be called here, by its name."""
        return self._tool_runner.registry.manifests()

    def get_plugin(self, plugin_name: str) -> PluginStatus | None:
        """Return a plugin's status, ``None`` when unknown."""
        return self._tool_runner.registry.get_status(plugin_name)

    def known(self, plugin_name: str) -> Plugin | None:
        """Return what is known of a plugin's files; ``None`` when unknown, or of no use here."""
        try:
            return self._tool_runner.registry.plugin(plugin_name)
        except (KeyError, ManifestError):
            return None

    def environment(self, plugin_name: str) -> Environment | None:
        """Return the environment of a plugin's own; ``None`` if its calls use none."""
        try:
            return self._tool_runner.registry.choice(plugin_name).environment
        except KeyError:
            return None

    def start(self, plugin_name: str) -> Start:
        """Load a plugin now, and tell how its calls start and why; raises GovernedError."""
        return self._tool_runner.start(plugin_name)

    def everywhere(self) -> list[Located]:
        """Return every plugin of this server, and those that others of its cluster have.

        Sorted by name.
        """
        registry = self._tool_runner.registry
        offers, here = registry.offers(), self.list_plugins()
        found = [_located(status, offers) for status in here]
        names = {status.name for status in here}
        found += [
            Located(registry.elsewhere(name, others), others)
            for name, others in (offers or {}).items()
            if name not in names
        ]
        return sorted(found, key=lambda one: one.status.name)

    def located(self, plugin_name: str) -> Located | None:
        """Return one of them; ``None`` when no server has it."""
        registry = self._tool_runner.registry
        offers, status = registry.offers(), self.get_plugin(plugin_name)
        if status is not None:
            return _located(status, offers)
        if offers is None or plugin_name not in offers:
            return None
        return Located(registry.elsewhere(plugin_name, offers[plugin_name]), offers[plugin_name])

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that takes calls now, and that may run here.

        Raises OSError while nobody can find out what this host can isolate.
        """
        return self._tool_runner.runnable()

    def unfit(self, plugin_name: str) -> str:
        """Return in words why a plugin that is there may not run here; "" if it may.

        Raises OSError as ``runnable``.
        """
        return self._tool_runner.unfit(plugin_name)

    def seen(self) -> dict[str, Seen]:
        """Return each plugin as it is known here, to be compared with a later look."""
        return self._tool_runner.registry.seen()

    def lacking(self) -> dict[str, Lack]:
        """Return what each plugin lacks that cannot run here."""
        return self._tool_runner.registry.lacking()

    def refusal(self, plugin_name: str) -> Standing | None:
        """Return how a plugin stands that is suspended, ``None`` for one that is not."""
        return self._tool_runner.registry.refusal(plugin_name)

    def version_of(self, plugin_name: str) -> str:
        """Return a plugin's version, "" for one that has none or is unknown."""
        return self._tool_runner.registry.version_of(plugin_name)

    def suspend(self, plugin_name: str) -> bool:
        """Take no calls of a plugin until ``resume``; False for one that is unknown.

        All servers of this state folder go by it, also after a restart. Raises OSError where it
        cannot be kept.
        """
        return self._tool_runner.registry.suspend(plugin_name)

    def resume(self, plugin_name: str) -> bool:
        """Take calls of a plugin again, whoever has suspended it; False for an unknown one.

        Raises OSError where that cannot be kept.
        """
        return self._tool_runner.registry.resume(plugin_name)

    def suspensions_problem(self) -> str:
        """Return why nobody knows which plugins are suspended; "" while that is known."""
        return self._tool_runner.registry.suspensions_problem

    def reload(self, settings: Settings | None = None) -> None:
        """Read all plugins anew, with other settings if given; calls in flight end as they began.

        Raises DiscoveryError, and SettingsError, and leaves everything as it was.
        """
        self._tool_runner.reload(settings)


def _located(status: PluginStatus, offers: MaybeOffers) -> Located:
    return Located(status, None if offers is None else offers.get(status.name, ()))
