"""Whether plugins can be offered as MCP tools here: without importing what that takes."""

from __future__ import annotations

from importlib.util import find_spec

MISSING = (
    "MCP needs the extra of that name, which is not installed: "
    "pip install 'toolrunner-sandbox[mcp]'"
)


def is_installed() -> bool:
    """Tell whether the SDK that speaks the protocol is there."""
    return find_spec("mcp") is not None
