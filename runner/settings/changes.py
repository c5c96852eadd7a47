"""What a reload of the settings changes, and what of it has to wait for the next start.

Called by who serves. Nothing is read or applied here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from toolrunner.runner.registry.plugin_changes import PluginChange
from toolrunner.runner.settings.settings import Settings

# Read anew for each call or each look at the plugins. All others size something that is made once.
REREAD = frozenset(
    {
        "plugins",
        "caps",
        "allow_installed",
        "allow_bundled",
        "disable_bundled",
        "allow_network",
        "allow_resident",
        "plugin",
        "resident_per",
        "max_batch",
        "webhooks",
    }
)
HIDDEN = "(hidden)"
UNSET = "(not set)"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that is not what it was; values are JSON. ``is_live``: it counts at once."""

    setting: str
    value: str
    was: str
    source: str
    is_live: bool

    def __str__(self) -> str:
        """What the log says of it."""
        since = "" if self.is_live else "; it counts from the next start on"
        return f"{self.setting} = {self.value} ({self.source}); it was {self.was}{since}"


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of one that was asked for: what changes, or why nothing does, for the operator."""

    changes: tuple[Change, ...] = ()
    plugins: tuple[PluginChange, ...] = ()
    refusal: str = ""


def in_force(old: Settings, new: Settings) -> Settings:
    """Return the settings that a server which runs with ``old`` has after it has read ``new``."""
    return old.model_copy(update={name: getattr(new, name) for name in REREAD})


def changes(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Return what differs, by name as ``caps.memory_mb``; plugins' config is not shown."""
    before, after = _values(old), _values(new)
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, value = before.get(name), after.get(name)
        if was == value:
            continue
        source = new.sources().get(name, "default")
        is_live = name.partition(".")[0] in REREAD
        found.append(Change(name, _shown(name, value), _shown(name, was), source, is_live))
    return tuple(found)


def _values(settings: Settings) -> dict[str, Any]:
    """Return the value of each setting by its name."""
    document = settings.model_dump(mode="json")
    values: dict[str, Any] = {}
    for name in settings.leaves():
        value: Any = document
        for key in name:
            value = value[key]
        if value != {}:  # a table without anything in it
            values[".".join(name)] = value
    return values


def _shown(name: str, value: object) -> str:
    if value is None:
        return UNSET
    if isinstance(value, float) and value.is_integer():  # a cap of 256 is not one of 256.0
        value = int(value)
    return HIDDEN if name.startswith("plugin.") and name.endswith(".config") else json.dumps(value)
