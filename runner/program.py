"""From a plugin and the operator's settings to the program that a box runs, or a refusal."""

from __future__ import annotations

import logging
from pathlib import Path

from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.plugin_files import PluginFiles
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.profile import Program

LOGGER_PREFIX = "toolrunner.plugin"

# What a manifest may never ask to read, nor a folder that contains one of these: there are
# secrets in them, or other processes. The operator's own settings may still name them.
_NEVER = (
    "/etc",
    "/root",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/var/lib",
    "/var/log",
)


def build_program(plugin: Plugin, settings: Settings, files: PluginFiles) -> Program:
    """Return what the box is to run; raise ``GovernedError`` for what is not allowed."""
    manifest = plugin.manifest
    own = settings.plugin.get(manifest.name)
    if manifest.network and manifest.name not in settings.allow_network:
        message = (
            f"{manifest.name} asks for the network, which the operator has not allowed; add "
            f'"{manifest.name}" to allow_network in the settings, or set network = false'
        )
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    read = [_checked(path, manifest.name, settings) for path in manifest.read]
    read += [str(path) for path in own.read] if own else []
    return Program(
        name=manifest.name,
        path=str(plugin.path),
        entry=plugin.entry if plugin.kind != "file" else _file_entry(plugin.entry),
        source=files.source(plugin.path) if plugin.kind == "file" else b"",
        folder=str(plugin.path) if plugin.kind == "folder" else "",
        stamp=0 if plugin.kind == "file" else files.stamp(plugin.path),
        read=tuple(read),
        network=manifest.network,
        config=dict(own.config) if own else {},
        log_level=logging.getLogger(f"{LOGGER_PREFIX}.{manifest.name}").getEffectiveLevel(),
    )


def _file_entry(entry: str) -> str:
    return f":{entry}" if entry else ""


def _checked(path: str, name: str, settings: Settings) -> str:
    """Return a folder that a manifest asks to read, unless it holds what no plugin may see."""
    real = Path(path).resolve()
    never = [Path(p) for p in _NEVER] + [Path.home(), Path(settings.state)]
    for secret in (p.resolve() for p in never):
        holds = secret.is_relative_to(real)
        inside = real.is_relative_to(secret) and secret != Path.home().resolve()
        if holds or inside:
            message = (
                f"{name} asks to read {path}, which plugins may not see for the sake of {secret}; "
                f'move the data, or allow it in the settings: [plugin.{name}] read = ["{path}"]'
            )
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    return str(real)
