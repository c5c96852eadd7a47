"""Plugins' names as callers give them: what is none, and what is said of one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from toolrunner.plugins.discovery import OFF_BY_DEFAULT


def name_of(plugin_name: object) -> str:
    """Return the name, or "" for what is none: callers do not always keep to types."""
    return plugin_name if isinstance(plugin_name, str) else ""


def unknown(name: str, known: Sequence[str]) -> str:
    """Return what to tell a caller whose plugin is none of ``known``."""
    tools = [one for one in known if one.startswith(f"{name}:")]
    if tools:
        return f"{name} has several tools; name one of them: {', '.join(tools)}"
    if name in OFF_BY_DEFAULT:
        return f'{name} is bundled, and off: allow_bundled = ["{name}"] in the settings turns it on'
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no plugin {name[:100]!r}; {hint}known are: {', '.join(known) or 'none'}"
