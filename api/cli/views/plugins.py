"""What ``toolrunner plugins list`` and ``show`` print for a person."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolrunner.api.cli.console import counted, plain, size_words, table_of, unbroken
from toolrunner.api.cli.views.calls import without_command
from toolrunner.api.cli.views.schemas import schema_rows
from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.registry.plugin_state import PluginState, PluginStatus
from toolrunner.runner.registry.suspensions import SuspendedBy
from toolrunner.sandbox.limits import MIB, Limits

_STARTS = {
    "warm": (
        "warm: each call is forked from the loaded plugin. What takes a call over cannot reach "
        "another one; an import written to do harm could watch later calls of this plugin "
        '(start = "cold" rules that out)'
    ),
    "cold": "cold: each call loads the plugin anew",
    "resident": (
        "resident: one process serves call after call, and keeps its memory, threads and open "
        "files between them"
    ),
    "failed": "it cannot be loaded",
}
_PROGRAM_STARTS = {
    **_STARTS,
    "warm": "warm: what starts the program is forked ahead, and its own start is part of each call",
    "cold": "cold: each call makes a box, and starts the program in it",
}


def list_view(statuses: Iterable[PluginStatus]) -> RenderableType:
    """Return a table of plugins; those that cannot run carry their reason, and how to mend that."""
    commands: list[str] = []
    table = table_of("plugin", "version", "state", "environment", "description")
    for status in statuses:
        unavailable = status.state == PluginState.UNAVAILABLE
        about = plain(status.description)
        if status.reason:
            reason, command = without_command(status.reason)
            commands += [command] if command and command not in commands else []
            about.append_text(plain(("\n" if about else "") + reason, "yellow"))
        if status.suspended_by:
            words = suspended_words(asdict(status))
            about.append_text(plain(("\n" if about else "") + words, "yellow"))
        state = Text(status.state, style="yellow" if unavailable else "green")
        of = plain(status.environment)
        table.add_row(plain(status.name, "bold"), plain(status.version), state, of, about)
    return Group(table, *_to_be_copied(commands))


def _to_be_copied(commands: Sequence[str]) -> list[RenderableType]:
    """Return the commands that install what is missing, each on a line of its own."""
    if not commands:
        return []
    lines: list[RenderableType] = [Text("\nto install what is missing:", style="yellow")]
    return lines + [unbroken(f"  {command}") for command in commands]


def suspended_words(status: Mapping[str, Any]) -> str:
    """Return that a plugin takes no calls, who says so, and when or by what that ends."""
    if status["suspended_by"] == SuspendedBy.OPERATOR:
        return f"suspended by the operator: toolrunner plugins enable {status['name']}"
    failed = f"suspended after {status['failures_in_row']} failures in a row"
    seconds = status["retry_after_seconds"]
    return f"{failed}; {f'for {seconds} s more' if seconds else 'the next call tries it again'}"


def _start_words(document: Mapping[str, Any]) -> str:
    """Return how calls start, without what stands in the row ``reason`` already."""
    start, starts = document["start"], _PROGRAM_STARTS if document["command"] else _STARTS
    words = "; ".join(one for one in start["reasons"] if one != document["reason"])
    return ": ".join([starts[start["mode"]], *filter(None, [words])])


def _residents_words(figures: Mapping[str, Any]) -> str:
    """Return what the residents of this command's own runner are."""
    memory = figures["memory_bytes"] / MIB
    words = (
        f"{figures['processes']} now, of {memory:.0f} MiB, {figures['oldest_seconds']:.1f} s old"
    )
    words += f"; {figures['calls']} calls served"
    gone = ", ".join(f"{count} {why}" for why, count in figures["replaced"].items())
    return f"{words}; replaced: {gone}" if gone else words


def _batch_words(batch: Mapping[str, int]) -> str:
    """Return how many calls are served together, or why each is served alone."""
    asked, most = batch["asked"], batch["most"]
    if batch["max_batch"] == 1:
        return f"no calls together: {asked} were asked for, and max_batch = 1 turns batches off"
    if most == 1:
        return f"no calls together: {asked} were asked for, and its calls do not start resident"
    capped = f" ({asked} were asked for; max_batch caps them)" if most < asked else ""
    wait = f", for which a call waits up to {batch['wait_ms']} ms" if batch["wait_ms"] else ""
    return f"up to {most} calls of one caller together{capped}{wait}"


def plugin_view(
    document: Mapping[str, Any], plugin: Plugin | None, before: Plugin | None = None
) -> RenderableType:
    """Return what ``plugin_document`` says, and what its author asked for beyond the caps.

    ``before``: another tool of the plugin, which has been shown; of limits only others are.
    """
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="cyan")
    grid.add_column()
    _add_manifest(grid, document)
    for name, words in schema_rows(document):
        grid.add_row(name, plain(words))
    _add_figures(grid, document)
    _, command = without_command(document.get("reason") or "")
    parts: list[RenderableType] = [grid]
    if command:
        parts += _to_be_copied([command])
    if plugin is None:
        return Group(*parts)
    limits = _changed(plugin, before)
    if before is not None:
        others = "all but these" if limits else "all"
        grid.add_row("limits", plain(f"{others} as of {before.name}"))
    if limits:
        parts.append(_limits_view(document["limits"], plugin.manifest.limits, limits))
    if document.get("packages"):
        parts.append(_packages_view(document["packages"]))
    return Group(*parts)


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "command": shlex.join,
    "reason": lambda reason: without_command(reason)[0],
}
_NOTHING = {"read": "nothing more", "accepts": "any type", "absent": ""}
_BETWEEN = {"absent": "; "}


def _add_manifest(grid: Table, document: Mapping[str, Any]) -> None:
    """Add rows about what its manifest says, and what came of it."""
    known = ("name", "version", "description", "state", "reason", "suspended", "last_failure")
    names = (*known, "from", "path", "input")
    lists = ("accepts", "read", "absent", "require", "dependencies")
    for name in (*names, "command", *lists, "requires_python", "environment", "network", "start"):
        value: Any = document.get(name)
        if name == "suspended" and document["suspended_by"]:
            value = suspended_words(document)
        if name == "last_failure" and value:
            value = f"{value} ({document['last_failure_at']})"
        if name in lists and name in document:
            value = _BETWEEN.get(name, ", ").join(value) or _NOTHING.get(name, "none")
        if name == "accepts" and document.get("input") == "json":
            continue
        if name in _SHOWN and value:
            value = _SHOWN[name](value)
        if name == "start" and value:
            value = _start_words(document)
        if name == "environment" and "packages" in document:
            value = _environment_words(document)
        if value:
            grid.add_row(name.replace("_", " "), plain(value))


def _changed(plugin: Plugin, before: Plugin | None) -> list[str]:
    """Return the limits that another tool of the plugin does not have as well: all without one."""
    names = [about.name for about in fields(Limits)]
    if before is None:
        return names
    asked, known = plugin.manifest.limits, before.manifest.limits
    return [name for name in names if getattr(asked, name) != getattr(known, name)]


def _add_figures(grid: Table, document: Mapping[str, Any]) -> None:
    """Add rows about what serves its calls."""
    if document.get("batch"):
        grid.add_row("batch", plain(_batch_words(document["batch"])))
    if "threads_per_call" in document:
        words = f"{document['threads_per_call']} of each numeric library (threads_per_call)"
        grid.add_row("threads", plain(words))
    if "residents" in document:
        grid.add_row("residents", plain(_residents_words(document["residents"])))


def _environment_words(document: Mapping[str, Any]) -> str:
    what = packages_words(document["packages"])
    return f"own: Python {document['python']} ({document['interpreter']}), {what}"


def packages_words(packages: Sequence[Mapping[str, Any]]) -> str:
    """Return how many packages there are, and what they take."""
    size = size_words(sum(one["bytes"] for one in packages))
    return f"{counted(len(packages), 'package')}, {size}"


def _packages_view(packages: Iterable[Mapping[str, Any]]) -> Table:
    table = table_of("package", "version", "MiB")
    for one in packages:
        table.add_row(plain(one["name"]), plain(one["version"]), f"{one['bytes'] / MIB:.1f}")
    return table


def _limits_view(in_force: Mapping[str, float], asked: Limits, names: Sequence[str]) -> Table:
    table = table_of("limit", "at most", "of", "at the limit it")
    for about in (one for one in fields(Limits) if one.name in names):
        value, wanted = in_force[about.name], getattr(asked, about.name)
        amount = Text(f"{value:g}")
        if value != wanted:
            amount.append(f" (asked for {wanted:g}; capped)", "yellow")
        table.add_row(about.name, amount, about.metadata["unit"], about.metadata["at_limit"])
    return table
