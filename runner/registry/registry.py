"""The plugins that are known here: their states, and the counts and times of their calls.

ToolRunner looks plugins up in a registry and records every call in it; the doors list it. It
reads manifests, never plugin code, and keeps everything in memory, unless it is given metrics to
share with other processes.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import Broken, Plugin
from toolrunner.plugins.manifest import Manifest, ManifestError
from toolrunner.runner.environments.choice import Choice, Environments
from toolrunner.runner.registry.counts import SharedCounts
from toolrunner.runner.registry.offers import MaybeOffers, Offer
from toolrunner.runner.registry.plugin_changes import Seen
from toolrunner.runner.registry.plugin_state import Entry, Lack, PluginState, PluginStatus
from toolrunner.runner.registry.suspensions import Standing, Suspensions, Verdict
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox import forks

# ``None`` is possible, and the name is known to most callers: ``Any`` spares them a test.
MaybeStatus = PluginStatus | Any

__all__ = ["MaybeStatus", "PluginRegistry", "PluginState", "PluginStatus"]

_LOG = logging.getLogger("toolrunner.registry")
_MOST_TOLD = 100  # unknown names: callers can make up any number


class Switches(Protocol):
    """Where the operator's word on plugins is said to all servers of a cluster."""

    def say(self, names: Sequence[str], *, is_suspended: bool) -> None:
        """Take no calls of plugins anywhere, or take them again; raises OSError."""

    def offers(self) -> MaybeOffers:
        """Return who takes jobs of which plugins; ``None`` while nobody can tell."""


class PluginRegistry:
    """Plugins by name. Thread-safe; each method is one step that others see whole or not at all."""

    def __init__(self) -> None:
        self._unlocked()
        self._entries: dict[str, Entry] = {}
        self._shared: SharedCounts | None = None
        self._told: set[str] = set()  # unknown names that the log has
        self._suspensions = Suspensions()
        self._switches: Switches | None = None
        self._environments: Environments | None = None
        self._stamp: int | None = None  # of the environments that the plugins' choices are made of
        # What discovery would find today, for a registry that was made by it.
        self._find: Callable[[Settings], tuple[list[Plugin], list[Broken]]] | None = None
        self._settings: Settings | None = None
        forks.in_each_child(self, PluginRegistry._in_child)

    def _unlocked(self) -> None:
        # A plain lock: no method may call another public one while it holds this.
        self._lock = threading.Lock()

    def _in_child(self) -> None:
        """Go on with the counts so far, alone, and without the parent's calls in flight."""
        self._unlocked()
        self._shared = None
        self._switches = None
        for entry in self._entries.values():
            entry.in_flight = 0
            entry.settle(entry.settled)

    @classmethod
    def discover(
        cls,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        *,
        settings: Settings | None = None,
    ) -> Self:
        """Return a registry of the bundled plugins, the allowed installed ones and ``paths``.

        ``settings`` (by default the environment's and the configuration file's) may name more
        paths. Plugins that cannot run here are in it as UNAVAILABLE.
        """
        settings = settings if settings is not None else Settings.load()
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        return cls._by(partial(_found, given), settings)

    @classmethod
    def discover_over(cls, paths: Iterable[str | os.PathLike[str]], settings: Settings) -> Self:
        """Return the same, but of two plugins of one name that of ``paths`` wins.

        Over one of the paths that the settings name, that is, and over no other one.
        """
        return cls._by(partial(_found_over, list(paths)), settings)

    @classmethod
    def _by(
        cls, find: Callable[[Settings], tuple[list[Plugin], list[Broken]]], settings: Settings
    ) -> Self:
        registry = cls()
        registry.look_below(settings.state)
        registry.suspend_after(settings.breaker_failures, settings.breaker_seconds)
        registry._find = find
        registry.reload(settings)
        return registry

    def reload(self, settings: Settings | None = None) -> None:
        """Discover the plugins anew, if they were discovered; with other settings, if given.

        What has changed counts as LOADED and keeps its counters, what is gone is unknown from now
        on, and what was registered by hand stays. Raises DiscoveryError, and changes nothing.
        """
        settings = settings or self._settings
        if self._find is None or settings is None:
            return
        found, broken = self._find(settings)
        new = {plugin.manifest.name: self._discovered(plugin) for plugin in found}
        new |= {bad.name: _unusable(bad) for bad in broken}
        with self._lock:
            entries = {n: entry for n, entry in self._entries.items() if not entry.is_discovered}
            for name, entry in new.items():
                old = self._entries.get(name)
                if old is None:
                    entries[name] = entry
                elif old.is_discovered and not old.is_same(entry):
                    entry.take_over(old)
                    entries[name] = entry
                else:
                    entries[name] = old
            self._settings = settings
            self._entries = entries  # in one step: a fork sees all of them, old or new

    def _discovered(self, plugin: Plugin) -> Entry:
        manifest = plugin.manifest
        entry = Entry(manifest.description, manifest.version, plugin, plugin)
        entry.is_discovered = True
        entry.choose(self._choose(plugin))
        return entry

    def look_below(self, state: Path) -> None:
        """Look below a state folder, unless another one is known.

        For plugins' environments, and for which of them are suspended.
        """
        if self._environments is None:
            self._environments = Environments(state)
            self._suspensions = Suspensions(state)
            self._choose_anew()

    def _choose(self, plugin: Plugin) -> Choice:
        return (self._environments or Environments(None)).choose(plugin)

    def _choose_anew(self, *names: str) -> None:
        """See to it that each plugin has the environment that is there now, if there is one.

        Costs a look at one folder's time, as long as nothing has been installed or removed, and
        one at the environment of each of ``names``, which somebody may have removed by hand.
        """
        if self._environments is None:
            return
        stamp = self._environments.stamp()
        if stamp is not None and stamp == self._stamp and not self._has_lost(names):
            return
        with self._lock:
            entries = list(self._entries.values())
        # Reads files, so not under the lock.
        found = [(e, e.plugin, self._choose(e.plugin)) for e in entries if e.plugin is not None]
        with self._lock:
            for entry, plugin, choice in found:
                if entry.plugin is plugin and entry.choice != choice:
                    entry.choose(choice)
            self._stamp = stamp

    def _has_lost(self, names: Iterable[str]) -> bool:
        entries = [entry for name in names if (entry := self._entries.get(name)) is not None]
        return any(entry.choice is not None and entry.choice.is_lost for entry in entries)

    def look_again(self) -> None:
        """Look for every environment anew: one was not there any more."""
        self._stamp = None
        self._choose_anew()

    def share(self, metrics: SharedCounts) -> None:
        """Count together with other processes from now on: what is shown is of all of them."""
        self._shared = metrics

    def switch_by(self, switches: Switches) -> None:
        """Say to all servers of a cluster from now on which plugins are suspended."""
        self._switches = switches

    def register(
        self, name: str, description: str = "", version: str = "", instance: object = None
    ) -> None:
        """Add a plugin, or replace one: with a warning, and its counters begin again.

        ``instance`` is what to run: a path, a manifest, or an object from a source file. One
        that cannot be used registers the plugin as UNAVAILABLE; ``None`` only makes the name
        known. What is in flight stays so. A plugin of several tools is added as each of them,
        NAME:TOOL.
        """
        plugin, reason = _resolved_now(name, instance)
        if plugin is None or not plugin.manifest.tools:
            self._add(name, description, version, instance, plugin, reason)
            return
        for tool in plugin.each:
            self._add(tool.name, description, version, instance, tool, "")

    def _add(
        self,
        name: str,
        description: str,
        version: str,
        instance: object,
        plugin: Plugin | None,
        reason: str,
    ) -> None:
        choice = self._choose(plugin) if plugin else None
        manifest = plugin.manifest if plugin else None
        entry = Entry(
            description=description or (manifest.description if manifest else ""),
            version=version or (manifest.version if manifest else ""),
            instance=instance,
            plugin=plugin,
            reason=reason,
        )
        if reason:
            entry.settle(PluginState.UNAVAILABLE)
        if choice is not None:
            entry.choose(choice)
        with self._lock:
            old = self._entries.get(name)
            if old is not None:
                entry.in_flight = old.in_flight
                entry.show_running()
            self._entries[name] = entry
        if old is not None:
            _LOG.warning("plugin %r was registered again: its counters begin anew", name)

    def get(self, name: str) -> object:
        """Return the ``instance`` that a plugin was registered with; KeyError when unknown."""
        with self._lock:
            return self._entries[name].instance

    def plugin(self, name: str) -> Plugin:
        """Return what ToolRunner needs to run a plugin.

        Raises KeyError when unknown, ManifestError when its instance is nothing that can run.
        """
        with self._lock:
            entry = self._entries[name]
            if entry.plugin is not None:
                return entry.plugin
            instance = entry.instance
        # Reads files, so not under the lock; two threads at once find the same.
        plugin = discovery.resolve_instance(name, instance)
        choice = self._choose(plugin)
        with self._lock:
            entry.plugin, entry.choice = plugin, choice
        return plugin

    def choice(self, name: str) -> Choice:
        """Return which modules the calls of a plugin see, as of the last look at its status.

        KeyError when unknown.
        """
        with self._lock:
            return self._entries[name].choice or Choice("runner")

    def list_plugins(self) -> list[str]:
        """Return every name, sorted."""
        with self._lock:
            return sorted(self._entries)

    def tools_of(self, name: str) -> list[str]:
        """Return the names of the tools of a plugin of several, sorted; none of any other one."""
        return [one for one in self.list_plugins() if one.startswith(f"{name}:")]

    def list_available(self) -> list[str]:
        """Return the names of those that can be called, sorted."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            return sorted(name for name, entry in self._entries.items() if entry.is_available)

    def manifests(self) -> dict[str, Manifest]:
        """Return the manifest of each plugin that can be called, by its name."""
        names = self.list_available()
        with self._lock:
            entries = {name: self._entries.get(name) for name in names}
        found = {name: entry.plugin for name, entry in entries.items() if entry is not None}
        return {name: one.manifest for name, one in found.items() if one is not None}

    def list_all(self) -> list[PluginStatus]:
        """Return the status of every plugin, sorted by name, unavailable ones included."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            own = [self._entries[name].status(name) for name in sorted(self._entries)]
        own = [self._standing(status) for status in own]
        return own if self._shared is None else self._shared.applied(own)

    def _standing(self, status: PluginStatus) -> PluginStatus:
        standing = self._suspensions.shown(status.name)
        return status if standing == Standing() else status.standing(standing)

    def is_available(self, name: str) -> bool:
        """Tell whether a plugin is known and can be called."""
        self._choose_anew(name)
        with self._lock:
            entry = self._entries.get(name)
            return entry is not None and entry.is_available

    def get_status(self, name: str) -> MaybeStatus:
        """Return a plugin's status, ``None`` when unknown."""
        own = self.own_status(name)
        if own is None or self._shared is None:
            return own
        return self._shared.applied([own])[0]

    def own_status(self, name: str) -> PluginStatus | None:
        """Return a plugin's status as far as this process alone knows it."""
        self._choose_anew(name)
        with self._lock:
            entry = self._entries.get(name)
            status = None if entry is None else entry.status(name)
        return None if status is None else self._standing(status)

    def get_state(self, name: str) -> str | None:
        """Return a plugin's state, ``None`` when unknown."""
        self._choose_anew(name)
        with self._lock:
            entry = self._entries.get(name)
            return None if entry is None else entry.state.value

    def all_states(self) -> dict[str, str]:
        """Return the state of every plugin by name, sorted."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            return {name: self._entries[name].state.value for name in sorted(self._entries)}

    def settled_state(self, name: str) -> str:
        """Return a plugin's state without regard to calls in flight; UNAVAILABLE when unknown."""
        with self._lock:
            entry = self._entries.get(name)
            return (PluginState.UNAVAILABLE if entry is None else entry.settled).value

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that takes calls now, as far as is known here."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            found = {name: e.version for name, e in self._entries.items() if e.is_available}
        return {name: version for name, version in found.items() if not self.refusal(name)}

    def seen(self) -> dict[str, Seen]:
        """Return each plugin as it is known here, to be compared with a later look."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            return {name: entry.seen() for name, entry in self._entries.items()}

    def lacking(self) -> dict[str, Lack]:
        """Return what each plugin lacks that cannot run here; those that can are not in it."""
        self._choose_anew(*self.list_plugins())
        with self._lock:
            lacks = {name: self._entries[name].lack for name in sorted(self._entries)}
        return {name: lack for name, lack in lacks.items() if lack is not None}

    def version_of(self, name: str) -> str:
        """Return a plugin's version, "" for one that has none or is unknown."""
        with self._lock:
            entry = self._entries.get(name)
            return "" if entry is None else entry.version

    def suspend_after(self, failures: int, seconds: float) -> None:
        """Suspend a plugin for ``seconds`` when it has failed so often in a row; 0 is never."""
        self._suspensions.suspend_after(failures, seconds)

    def suspend(self, name: str) -> bool:
        """Take no calls of a plugin, or of all its tools, until ``resume``; False if unknown.

        It holds for all who have this state folder, and after a restart. Raises OSError where it
        cannot be kept.
        """
        return self._switch(name, self._suspensions.suspend, is_suspended=True)

    def resume(self, name: str) -> bool:
        """Take calls of a plugin, or of all its tools, again, whoever suspended it.

        False if it is unknown. Raises OSError where that cannot be kept.
        """
        return self._switch(name, self._suspensions.resume, is_suspended=False)

    def _switch(self, name: str, step: Callable[[str], object], *, is_suspended: bool) -> bool:
        names = self.tools_of(name) or [one for one in self.list_plugins() if one == name]
        if self._switches is not None:
            names = names or [one for one in self.offers() or () if _is_of(one, name)]
            if names:
                self._switches.say(names, is_suspended=is_suspended)
            return bool(names)
        for one in names:
            step(one)
        return bool(names)

    def hear(self, name: str, *, is_suspended: bool, is_news: bool) -> None:
        """Go by the operator's word on a plugin, known here or not, that was said elsewhere."""
        self._suspensions.hear(name, is_suspended=is_suspended, is_news=is_news)

    def word_on(self, name: str) -> Standing:
        """Return how a plugin stands, known here or not."""
        return self._suspensions.standing(name)

    def offers(self) -> MaybeOffers:
        """Return which workers of a cluster take jobs of which plugins, also of others than here.

        ``None`` where there is no cluster, or while nobody can tell.
        """
        return None if self._switches is None else self._switches.offers()

    def elsewhere(self, name: str, offers: Sequence[Offer]) -> PluginStatus:
        """Return the status of a plugin that only other servers of the cluster have."""
        version = offers[0].version if offers else ""
        entry = Entry("", version, None, reason="is not on this server; others run its jobs")
        entry.settle(PluginState.UNAVAILABLE)
        status = self._standing(entry.status(name))
        return status if self._shared is None else self._shared.applied([status])[0]

    def heed_no_suspensions(self) -> None:
        """Take calls of suspended plugins as well, and count no failures, in this process alone."""
        self._suspensions = Suspensions()

    def refusal(self, name: str, call_id: str = "") -> Standing | None:
        """Return how a plugin stands that is suspended; ``None`` when it takes this call.

        A call with an id is about to begin, and may be the one that tries whether it works again.
        """
        return self._suspensions.refusal(name, call_id)

    def heard(self, name: str, call_id: str, verdict: Verdict, reason: str = "") -> None:
        """Note what the end of a call says of its plugin: too many failures suspend it."""
        self._suspensions.ended(name, call_id, verdict, reason)

    @property
    def suspensions_problem(self) -> str:
        """Why nobody knows which plugins are suspended, and what to do; "" while it is known."""
        return self._suspensions.looked()

    def mark_running(self, name: str) -> None:
        """Note that a call has begun; one ``update_execution_metrics`` has to follow."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.begin()
        if entry is None:
            self._unknown(name)
        elif self._shared is not None:
            self._shared.begin(name)

    def mark_initialized(self, name: str) -> None:
        """Note that a plugin works, whatever was wrong with it before."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.settle(PluginState.INITIALIZED)
                entry.reason = ""
        if entry is None:
            self._unknown(name)
        elif self._shared is not None:
            self._shared.settle(name, PluginState.INITIALIZED, "")

    def mark_failed(self, name: str, reason: str) -> None:
        """Note that a plugin failed; it can still be called, and an unavailable one still not."""
        with self._lock:
            entry = self._entries.get(name)
            is_available = entry is not None and entry.is_available
            if entry is not None and is_available:
                entry.settle(PluginState.FAILED)
                entry.reason = reason
        if entry is None:
            self._unknown(name)
        elif self._shared is not None and is_available:
            self._shared.settle(name, PluginState.FAILED, reason)

    def note_fault(self, name: str, reason: str) -> None:
        """Say why a call failed that is recorded next, if it is recorded as FAILED."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.fault = reason

    def mark_unavailable(self, name: str, reason: str) -> None:
        """Note that a plugin cannot run here, and why; an unknown one becomes known so."""
        with self._lock:
            entry = self._entries.setdefault(name, Entry("", "", None))
            entry.settle(PluginState.UNAVAILABLE)
            entry.reason = reason

    def update_execution_metrics(
        self, plugin_name: str, state: str, elapsed_ms: int, had_error: bool
    ) -> None:
        """Record the end of one call, and the plugin's ``state`` after it.

        While other calls are in flight it shows as RUNNING; the last to end decides. No call
        makes an unavailable plugin available.
        """
        with self._lock:
            entry = self._entries.get(plugin_name)
            if entry is not None:
                before = entry.settled
                failure = entry.record(state, elapsed_ms, had_error=had_error)
                settled, reason = entry.settled, entry.reason
                # A caller's or the host's fault says nothing, here or to other processes.
                is_news = not had_error or failure or settled is not before
        if entry is None:
            self._unknown(plugin_name)
        elif self._shared is not None:
            self._shared.record(
                plugin_name,
                settled if is_news else None,
                elapsed_ms,
                had_error=had_error,
                reason=reason,
                failure=failure,
            )

    def _unknown(self, name: str) -> None:
        """Log that a name is unknown: once for each, and no more than some. A caller's slip."""
        shown = f"{name!r:.100}"
        with self._lock:
            is_new = shown not in self._told and len(self._told) < _MOST_TOLD
            if is_new:
                self._told.add(shown)
            is_last = is_new and len(self._told) == _MOST_TOLD
        level = logging.INFO if is_new else logging.DEBUG
        _LOG.log(level, "there is no plugin %s, which a call has named: no plugin counts it", shown)
        if is_last:
            _LOG.info("%d unknown plugins were named; no more are told of", _MOST_TOLD)


def _is_of(name: str, asked: str) -> bool:
    """Whether a name is that of a plugin, or of one of its tools."""
    return name == asked or name.startswith(f"{asked}:")


def _unusable(bad: Broken) -> Entry:
    entry = Entry(bad.description, bad.version, None, reason=bad.reason)
    entry.is_discovered = True
    entry.settle(PluginState.UNAVAILABLE)
    return entry


def _found(
    given: list[str | os.PathLike[str]], settings: Settings
) -> tuple[list[Plugin], list[Broken]]:
    return _found_over([*given, *settings.plugins], settings.model_copy(update={"plugins": ()}))


def _found_over(
    given: list[str | os.PathLike[str]], settings: Settings
) -> tuple[list[Plugin], list[Broken]]:
    return discovery.discover(
        given,
        beneath=settings.plugins,
        allow_installed=settings.allow_installed,
        disable_bundled=settings.disable_bundled,
        allow_bundled=settings.allow_bundled,
    )


def _resolved_now(name: str, instance: object) -> tuple[Plugin | None, str]:
    """Return what can be read of an instance without running anything, or why it is of no use."""
    if instance is None:
        return None, ""
    try:
        return discovery.resolve_instance(name, instance), ""
    except ManifestError as error:
        return None, f"{type(error).__name__}: {error}"
