"""Plugins, settings and jobs as plain values, as JSON shows them: for all doors alike.

Reads statuses, manifests and settings; only ``started`` and ``loaded_document`` load a plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.errors import ManifestError
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.environments.store import Environment
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.failures import SuspendedError
from toolrunner.runner.jobs.job import Job
from toolrunner.runner.readable import absent_paths
from toolrunner.runner.registry.offers import Offer
from toolrunner.runner.registry.plugin_state import PluginState, PluginStatus
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start, calls_together
from toolrunner.runner.tool_runner import ToolRunner


def status_document(status: PluginStatus) -> dict[str, Any]:
    """Return a status as JSON shows it."""
    times = {"last_used": status.last_used, "last_failure_at": status.last_failure_at}
    written = {name: time.isoformat() if time else None for name, time in times.items()}
    return {**asdict(status), **written}


def offers_document(offers: Sequence[Offer], *, with_hosts: bool) -> list[dict[str, Any]]:
    """Return who takes jobs of a plugin; what their hosts are called is the operator's to know."""
    if with_hosts:
        return [asdict(one) for one in offers]
    workers: dict[str, int] = {}
    for one in offers:
        workers[one.version] = workers.get(one.version, 0) + one.workers
    return [{"version": version, "workers": number} for version, number in workers.items()]


def plugin_of(registry: PluginRegistry, name: str) -> Plugin | None:
    """Return what the registry knows of a plugin's files, ``None`` when it cannot be used."""
    try:
        return registry.plugin(name)
    except ManifestError:
        return None


def plugin_document(
    status: PluginStatus,
    plugin: Plugin | None,
    settings: Settings,
    environment: Environment | None = None,
) -> dict[str, Any]:
    """Return everything that is known about a plugin without loading it.

    ``environment``: the one of its own, if its calls use it.
    """
    shown = status_document(status)
    if plugin is None:
        return shown
    manifest = plugin.manifest
    own = settings.plugin.get(manifest.plugin)
    return {
        **shown,
        "from": plugin.origin,
        "path": str(plugin.path),
        "input": manifest.input,
        "accepts": list(manifest.accepts),
        "input_schema": manifest.input_schema,
        "output_schema": manifest.output_schema,
        "error_key": manifest.error_key,
        "limits": asdict(manifest.limits.capped(settings.caps)),
        "read": [*manifest.read, *(str(path) for path in (own.read if own else ()))],
        "absent": absent_words(manifest, settings),
        "network": _network(plugin, settings),
        "threads_per_call": settings.threads_per_call,
        "batch": _batch(plugin, settings),
        "command": list(manifest.command),
        "require": list(manifest.require),
        "requires_python": manifest.requires_python,
        "dependencies": list(manifest.dependencies),
        **({} if environment is None else environment_document(environment)),
    }


def absent_words(manifest: Manifest, settings: Settings) -> list[str]:
    """Return a sentence for each path that a plugin is to read, and that is not here."""
    return [
        f"{path}, which {by} names, cannot be found on this host"
        for path, by in absent_paths(manifest, settings).items()
    ]


def environment_document(environment: Environment) -> dict[str, Any]:
    """Return what a plugin's environment is, with its packages."""
    return {
        "python": environment.python_version,
        "interpreter": str(environment.interpreter),
        "environment_path": str(environment.folder),
        "packages": packages_document(environment),
    }


def packages_document(environment: Environment) -> list[dict[str, Any]]:
    """Return what is installed in an environment."""
    return [
        {"name": one.name, "version": one.version, "bytes": one.bytes}
        for one in environment.packages
    ]


def started(tool_runner: ToolRunner, name: str) -> Start:
    """Load a plugin; return how its calls start, also where it cannot run here."""
    try:
        return tool_runner.start(name)
    except GovernedError as error:
        return Start("failed", (error.message,))


def loaded_document(tool_runner: ToolRunner, name: str) -> dict[str, Any]:
    """Load a plugin; return what is known since: how its calls start, its state, and why."""
    refused = ""
    try:
        start = tool_runner.start(name)
    except GovernedError as error:
        start = Start("failed", (error.message,))
        # A suspended one could run here; that it does not is told by itself.
        if error.error_type is ErrorType.PLUGIN_UNAVAILABLE and not isinstance(
            error, SuspendedError
        ):
            refused = error.message
    status = tool_runner.registry.get_status(name)
    known: dict[str, Any] = {}
    if refused:
        known = {"state": PluginState.UNAVAILABLE, "reason": refused}
    elif status is not None:
        known = {"state": status.state, "reason": status.reason}
    figures = tool_runner.residents().get(tool_runner.box_of(name))
    if start.mode == "resident" and figures is not None:
        known["residents"] = asdict(figures)
    return {**known, "start": asdict(start)}


def _batch(plugin: Plugin, settings: Settings) -> dict[str, int] | None:
    """Return how many calls are served together, of how many asked for; None for no batches."""
    manifest = plugin.manifest
    if manifest.batch == 1:
        return None
    return {
        "asked": manifest.batch,
        "most": calls_together(manifest, settings),
        "max_batch": settings.max_batch,
        "wait_ms": manifest.batch_ms,
    }


def _network(plugin: Plugin, settings: Settings) -> str:
    if not plugin.manifest.network:
        return "none"
    if plugin.manifest.plugin in settings.allow_network:
        return "the host's"
    return "asked for, but not allowed: see allow_network in the settings"


def settings_document(
    settings: Settings, given_paths: tuple[str, ...], *, reveal: bool
) -> list[dict[str, Any]]:
    """Return each setting with its value and source; plugins' config may be secret.

    Where a server has another default, ``serve`` is it.
    """
    values = settings.model_dump(mode="json")
    served = settings.for_serving().model_dump(mode="json")
    rows = []
    for name, source in settings.sources().items():
        value: Any = values
        for key in _path_of(name):
            value = value[key]
        if name.startswith("plugin.") and name.endswith(".config") and not reveal:
            value = dict.fromkeys(value, "(hidden; --reveal shows it)")
        row = {"setting": name, "value": value, "source": source}
        if values.get(name) != served.get(name):
            row["serve"] = served[name]
        rows.append(row)
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


def job_document(job: Job) -> dict[str, Any]:
    """Return a job as JSON shows it, to the operator."""

    def text(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "id": job.id,
        "plugin": job.plugin,
        "caller": job.caller,
        "status": job.status,
        "dead": job.is_dead,
        "progress": job.progress,
        "created_at": text(job.created_at),
        "started_at": text(job.started_at),
        "ended_at": text(job.ended_at),
        "attempts": job.attempts,
        "error": job.error,
        "waiting_for": job.waiting_for or None,
    }
