"""From a plugin and the operator's settings to the program that a box runs, or a refusal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.environments.choice import Choice, install_command
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.samples import rehearsal
from toolrunner.runner.plugin_files import PluginFiles
from toolrunner.runner.readable import found, readable_by
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import calls_together
from toolrunner.sandbox.interpreter import Interpreter, UnusableError
from toolrunner.sandbox.profile import Program

LOGGER_PREFIX = "toolrunner.plugin"


def build_program(
    plugin: Plugin, settings: Settings, files: PluginFiles, choice: Choice | None = None
) -> Program:
    """Return what the box is to run; raise ``GovernedError`` for what is not allowed.

    ``choice``: which modules it sees, by default the runner's.
    """
    manifest = plugin.manifest
    own = settings.plugin.get(manifest.plugin)
    if choice is not None and choice.reason:
        message = f"{manifest.name} cannot run here: {choice.reason}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    refused = network_refusal(manifest, settings)
    if refused:
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, refused)
    is_file = plugin.kind == "file"
    named, package = plugin.found_at, ""
    if plugin.kind == "installed" and choice is not None and choice.environment is not None:
        named, package = _package(plugin)
    code = found(named, files)
    if code is None:
        message = f"OSError: {named} cannot be read: it is not there, or not for this user"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    readable, absent = readable_by(manifest, settings, files)
    return Program(
        name=box_name(plugin, settings.caps),
        path=code.path,
        entry=_file_entry(plugin.entry) if is_file else plugin.entry,
        command=manifest.command,
        source=files.source(named) if is_file else b"",
        folder=code.path if plugin.kind == "folder" else "",
        package=package,
        stamp=0 if is_file else files.stamp(Path(code.path)),
        read=tuple(readable),
        absent=absent,
        found={path: (what.device, what.inode) for path, what in readable.items()}
        | {code.path: (code.device, code.inode)},
        network=manifest.network,
        config=dict(own.config) if own else {},
        rehearsal=_rehearsal(manifest),
        misses_threads=manifest.start != "warm",
        batch=calls_together(manifest, settings),
        batch_ms=manifest.batch_ms,
        log_level=_log_level(plugin),
        tools=tuple(plugin.whole.tools) if plugin.whole is not None else (),
        examined=plugin.examined,
        python=_interpreter(choice),
        # One box may serve all tools.
        takes_files=any(takes_files(one.manifest) for one in plugin.entire.each),
        install=install_command(plugin, settings.state),
    )


def network_refusal(manifest: Manifest, settings: Settings) -> str:
    """Return why a plugin may not have the network that it asks for; "" if it may, or asks not."""
    if not manifest.network or manifest.plugin in settings.allow_network:
        return ""
    return (
        f"{manifest.plugin} asks for the network, which the operator has not allowed; add "
        f'"{manifest.plugin}" to allow_network in the settings, or set network = false'
    )


def takes_files(manifest: Manifest) -> bool:
    """Tell whether files come with a request: a program has its image as one."""
    return manifest.input == "files" or bool(manifest.command and manifest.input == "image")


def box_name(plugin: Plugin, caps: Mapping[str, float]) -> str:
    """Return what a plugin's boxes go by: its tools share them, if their limits are equal.

    It is the plugin's own name where these are its limits, and else that of the first such tool.
    """
    whole = plugin.whole
    if whole is None:
        return plugin.name
    limits = plugin.manifest.limits.capped(caps)
    same = [one for one in (whole, *whole.tools.values()) if one.limits.capped(caps) == limits]
    return same[0].name if same else plugin.name


def logger_name(manifest: Manifest) -> str:
    """Return the name of the logger of a plugin's records; a tool's is below its plugin's."""
    return ".".join([LOGGER_PREFIX, manifest.plugin, *filter(None, [manifest.tool])])


def _log_level(plugin: Plugin) -> int:
    """Return which records are sent; of tools in one box, what any of them needs."""
    whole = plugin.whole or plugin.manifest
    names = [logger_name(one) for one in whole.tools.values()] or [logger_name(whole)]
    return min(logging.getLogger(name).getEffectiveLevel() for name in names)


def _package(plugin: Plugin) -> tuple[str, str]:
    """Return the folder and the name of the top-level package of an installed plugin.

    Its manifest may lie in a package below that.
    """
    names = plugin.entry.partition(":")[0].split(".")
    folders = plugin.path.parts
    for depth in range(len(names), 0, -1):
        if folders[-depth:] == tuple(names[:depth]):
            return str(Path(*folders[: len(folders) - depth + 1])), names[0]
    return str(plugin.path), names[0]


def _interpreter(choice: Choice | None) -> Interpreter | None:
    """Return what runs the boxes, ``None`` for the runner's own."""
    try:
        return choice.interpreter() if choice is not None else None
    except UnusableError as error:
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, f"RuntimeError: {error}") from error


def _rehearsal(manifest: Manifest) -> str:
    """Return the request that the manifest wants rehearsed, or ""."""
    if not manifest.warm_up:
        return ""
    request = rehearsal(manifest)
    if not request:
        types = " or ".join(manifest.accepts)
        what = "file" if manifest.input == "files" else "picture"
        message = (
            f"{manifest.name} says warm_up = true, and no {what} of type {types} can be made "
            "here; write a function warm_up() instead"
        )
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    return request


def _file_entry(entry: str) -> str:
    return f":{entry}" if entry else ""
