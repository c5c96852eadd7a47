"""What tools are called for agents' hosts, which take fewer characters than plugins' names have.

A plugin is called as it is. Of ``plugin:tool`` the colon becomes an underscore, which no plugin's
name has: so the first one is where it was. What is longer than a model's API takes is cut, and two
underscores, behind which no tool's name goes on, stand before what tells it from others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# Of the model APIs that there are, the shortest that one takes.
LONGEST_NAME = 64
_DIGITS = 22  # of a digest: 88 bits
_NAME = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,63}")


def tool_name(plugin: str) -> str:
    """Return what the tool is called that is the plugin of a name, or one of its tools."""
    name = plugin.replace(":", "_", 1)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(plugin.encode()).hexdigest()[:_DIGITS]
    start = plugin.partition(":")[0][: LONGEST_NAME - _DIGITS - 2]
    return f"{start}__{digest}"


def plugins_by_tool(plugins: Iterable[str]) -> dict[str, str]:
    """Return which of some plugins, or tools of one, is meant by each tool's name."""
    return {tool_name(plugin): plugin for plugin in plugins}


def is_tool_name(text: str) -> bool:
    """Tell whether any tool may be called so."""
    return _NAME.fullmatch(text) is not None
