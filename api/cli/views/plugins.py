"""How plugins and settings are listed: for a person as tables, for programs as plain values.

Called by ``commands``. Reads statuses, manifests and settings; ``start_document`` alone loads
a plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolrunner.api.cli.console import plain, table_of
from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.errors import ManifestError
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.registry.registry import PluginRegistry, PluginState, PluginStatus
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import ToolRunner
from toolrunner.sandbox.limits import Limits

_STARTS = {
    "warm": (
        "warm: each call is forked from the loaded plugin. What takes a call over cannot reach "
        "another one; an import written to do harm could watch later calls of this plugin "
        '(start = "cold" rules that out)'
    ),
    "cold": "cold: each call loads the plugin anew",
    "failed": "it cannot be loaded",
}


def status_document(status: PluginStatus) -> dict[str, Any]:
    """Return a status as JSON shows it."""
    last_used = status.last_used
    return {**asdict(status), "last_used": last_used.isoformat() if last_used else None}


def list_view(statuses: Iterable[PluginStatus]) -> RenderableType:
    """Return a table of plugins; those that cannot run carry their reason."""
    table = table_of("plugin", "version", "state", "description")
    for status in statuses:
        unavailable = status.state == PluginState.UNAVAILABLE
        about = plain(status.description)
        if status.reason:
            about.append_text(plain(("\n" if about else "") + status.reason, "yellow"))
        state = Text(status.state, style="yellow" if unavailable else "green")
        table.add_row(plain(status.name, "bold"), plain(status.version), state, about)
    return table


def plugin_of(registry: PluginRegistry, name: str) -> Plugin | None:
    """Return what the registry knows of a plugin's files, ``None`` when it cannot be used."""
    try:
        return registry.plugin(name)
    except ManifestError:
        return None


def plugin_document(
    status: PluginStatus, plugin: Plugin | None, settings: Settings
) -> dict[str, Any]:
    """Return everything that is known about a plugin without loading it."""
    shown = status_document(status)
    if plugin is None:
        return shown
    manifest = plugin.manifest
    own = settings.plugin.get(manifest.name)
    return {
        **shown,
        "from": plugin.origin,
        "path": str(plugin.path),
        "input": manifest.input,
        "accepts": list(manifest.accepts),
        "input_schema": manifest.input_schema,
        "limits": asdict(manifest.limits.capped(settings.caps)),
        "read": [*manifest.read, *(str(path) for path in (own.read if own else ()))],
        "network": _network(plugin, settings),
        "require": list(manifest.require),
        "requires_python": manifest.requires_python,
        "dependencies": list(manifest.dependencies),
    }


def start_document(tool_runner: ToolRunner, name: str) -> dict[str, Any]:
    """Load a plugin, and return how its calls start and why as JSON shows it."""
    try:
        return asdict(tool_runner.start(name))
    except GovernedError as error:
        return asdict(Start("failed", (error.message,)))


def _start_words(start: Mapping[str, Any]) -> str:
    return ": ".join([_STARTS[start["mode"]], *filter(None, ["; ".join(start["reasons"])])])


def _network(plugin: Plugin, settings: Settings) -> str:
    if not plugin.manifest.network:
        return "none"
    if plugin.name in settings.allow_network:
        return "the host's"
    return "asked for, but not allowed: see allow_network in the settings"


def plugin_view(document: Mapping[str, Any], plugin: Plugin | None) -> RenderableType:
    """Return what ``plugin_document`` says, and what its author asked for beyond the caps."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="cyan")
    grid.add_column()
    names = ("name", "version", "description", "state", "reason", "from", "path", "input")
    lists = ("accepts", "read", "require", "dependencies")
    for name in (*names, *lists, "requires_python", "network", "start"):
        value: Any = document.get(name)
        if name in lists and name in document:
            value = ", ".join(value) or ("nothing more" if name == "read" else "none")
        if name == "start" and value:
            value = _start_words(value)
        if value:
            grid.add_row(name.replace("_", " "), plain(value))
    if plugin is None:
        return grid
    return Group(grid, _limits_view(document["limits"], plugin.manifest.limits))


def _limits_view(in_force: Mapping[str, float], asked: Limits) -> Table:
    table = table_of("limit", "at most", "of", "at the limit it")
    for about in fields(Limits):
        value, wanted = in_force[about.name], getattr(asked, about.name)
        amount = Text(f"{value:g}")
        if value != wanted:
            amount.append(f" (asked for {wanted:g}; capped)", "yellow")
        table.add_row(about.name, amount, about.metadata["unit"], about.metadata["at_limit"])
    return table


def settings_document(
    settings: Settings, given_paths: tuple[str, ...], *, reveal: bool
) -> list[dict[str, Any]]:
    """Return each setting with its value and source; plugins' config may be secret."""
    values = settings.model_dump(mode="json")
    rows = []
    for name, source in settings.sources().items():
        value: Any = values
        for key in _path_of(name):
            value = value[key]
        if name.startswith("plugin.") and name.endswith(".config") and not reveal:
            value = dict.fromkeys(value, "(hidden; --reveal shows it)")
        rows.append({"setting": name, "value": value, "source": source})
    return [_with_paths(row, given_paths) if row["setting"] == "plugins" else row for row in rows]


def _path_of(name: str) -> tuple[str, ...]:
    # A plugin's name has no dots, so these are all the keys there are.
    return tuple(name.split("."))


def _with_paths(row: dict[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """Return the row of ``plugins`` with the paths that the command line adds to it."""
    if not given:
        return row
    below = f", {row['source']}" if row["value"] else ""
    return {**row, "value": [*given, *row["value"]], "source": f"argument --plugins{below}"}


def settings_view(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return a table of settings."""
    table = table_of("setting", "value", "from")
    for row in rows:
        table.add_row(plain(row["setting"], "cyan"), _value(row["value"]), plain(row["source"]))
    return table


def _value(value: object) -> Text:
    if value in ([], {}, ""):
        return Text("none", style="dim")
    match value:
        case list():
            return plain("\n".join(map(str, value)))
        case dict():
            return plain("\n".join(f"{key} = {inner}" for key, inner in value.items()))
        case _:
            return plain(value)
