"""Tells a path or a URL that stands where a plugin's name is meant, and what to write instead."""

from __future__ import annotations

import os
import shlex

from toolrunner.plugins.discovery import DiscoveryError, discover
from toolrunner.plugins.errors import shown
from toolrunner.plugins.fields import is_name
from toolrunner.runner.registry.registry import PluginRegistry

_MOST_NAMES = 5


def is_url(text: str) -> bool:
    """Tell whether somebody has written a URL."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.isalnum()


def instead_of(name: str, registry: PluginRegistry, command: str, *rest: str) -> str:
    """Return what is wrong with ``toolrunner COMMAND NAME REST`` if the name is no name, or ""."""
    if registry.get_status(name) is not None:
        return ""
    told = shown(name)[:200]
    if is_url(name):
        return f"{told} is a URL, and a plugin's name is meant; `toolrunner plugins` lists them"
    if not os.path.lexists(name) and is_name(name):
        return _here(name, command, *rest)
    found = _plugins_at(name)
    if found:
        words = _line("--plugins", name, *command.split(), found[0], *rest)
        names = f", one of {', '.join(found[:_MOST_NAMES])}" if len(found) > 1 else ""
        return f"{told} is a path, and a plugin's name is meant{names}: {words}"
    known = next((word for word in rest if registry.get_status(word) is not None), "")
    if known and os.path.lexists(name):
        others = [name, *(word for word in rest if word != known)]
        return (
            f"{told} is a file, and the plugin's name comes first: {_line(command, known, *others)}"
        )
    if os.path.isfile(name):  # noqa: PTH113 - as above
        return (
            f"{told} is a file, and the plugin's name comes first: "
            f"{_line(command, 'PLUGIN', name, *rest)}; `toolrunner plugins` lists them"
        )
    if os.path.lexists(name) or os.sep in name:
        return (
            f"{told} is a path, and a plugin's name is meant; `toolrunner plugins` lists them, and "
            "`--plugins PATH` adds to them"
        )
    return ""


def _here(name: str, command: str, *rest: str) -> str:
    """Tell of a plugin of this name that lies in the working directory, unknown."""
    module = name.replace("-", "_")
    for path in dict.fromkeys((f"{name}.py", f"{module}.py", module)):
        if name in _plugins_at(path):
            words = _line("--plugins", path, *command.split(), name, *rest)
            return f"{name} is in {path}, which has to be named: {words}"
    return ""


def _plugins_at(path: str) -> list[str]:
    """Return the names of the plugins in a file or folder."""
    if not os.path.exists(path):  # noqa: PTH110 - Path's raises where a link cannot be followed
        return []
    try:
        plugins, broken = discover([path], bundled=False)
    except DiscoveryError:
        return []
    return sorted([*(one.name for one in plugins), *(one.name for one in broken)])


def _line(*words: str) -> str:
    return " ".join(["toolrunner", *(shlex.quote(shown(word)) for word in words)])
