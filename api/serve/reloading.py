"""A reload: the settings and the plugins are read anew, and tried before anything is changed.

The supervisor decides, on SIGHUP, for all its workers: what is refused leaves everything as it was.
A worker asks it to, for an operator who asks over HTTP.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Sequence

from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.errors import one_line
from toolrunner.runner.registry.plugin_changes import PluginChange, Seen, plugin_changes
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.changes import Change, changes, in_force
from toolrunner.runner.settings.names import unknown_names
from toolrunner.runner.settings.settings import Settings, SettingsError

_LOG = logging.getLogger("toolrunner.serve")


def reread(
    current: Settings, load: Callable[[], Settings], plugin_paths: Sequence[str]
) -> tuple[Settings, tuple[Change, ...], dict[str, Seen]]:
    """Return the settings that would be in force, what is not what it was, and the plugins.

    Raises SettingsError, DiscoveryError and OSError for what could not be used.
    """
    new = load()
    after = in_force(current, new)
    return after, changes(current, new), plugins_found(plugin_paths, after)


def plugins_found(plugin_paths: Sequence[str], settings: Settings) -> dict[str, Seen]:
    """Return the plugins that there are now, by name; raises DiscoveryError."""
    return PluginRegistry.discover(plugin_paths, settings=settings).seen()


def decided(
    current: Settings,
    load: Callable[[], Settings],
    plugin_paths: Sequence[str],
    plugins: dict[str, Seen],
) -> Settings | None:
    """Return the settings in force from now on, and log what has changed; ``None`` if refused.

    ``plugins``: those that there were; afterwards, those that there are.
    """
    try:
        after, found, there = reread(current, load, plugin_paths)
    except (SettingsError, DiscoveryError, OSError) as error:
        _LOG.error("settings and plugins stay as they were: %s", one_line(str(error)))
        return None
    except Exception:  # noqa: BLE001 - logged; the server goes on
        _LOG.exception("settings and plugins stay as they were: a bug")
        return None
    for change in found:
        level = logging.INFO if change.is_live else logging.WARNING
        _LOG.log(level, "settings: %s", change)
    different = plugin_changes(plugins, there)
    _tell(different)
    if not found and not different:
        _LOG.info("no setting and no plugin's manifest has changed")
    warn_of_unknown_names(after, there)
    plugins.clear()
    plugins.update(there)
    return after


def _tell(different: Iterable[PluginChange]) -> None:
    """Log what has become of plugins: what callers lose by it is a warning each."""
    harmless = []
    for change in different:
        if change.is_loss:
            _LOG.warning("plugins: %s", one_line(str(change)))
        else:
            harmless.append(str(change))
    if harmless:
        _LOG.info("plugins: %s", one_line("; ".join(harmless)))


def warn_of_unknown_names(settings: Settings, plugins: Iterable[str]) -> None:
    """Log which settings name plugins that are not there: they may come, or be misspelt."""
    for words in unknown_names(settings, sorted(plugins)):
        _LOG.warning("settings: %s", one_line(words))


def ask_for_it(supervisor: int) -> None:
    """Have the supervisor reload; raises OSError when it has gone."""
    if os.getppid() != supervisor:  # and its number may be anybody's
        message = "the supervisor has gone: this server is ending"
        raise ProcessLookupError(message)
    os.kill(supervisor, signal.SIGHUP)
