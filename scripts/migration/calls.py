"""Direct calls of plugins: ``plugin.run(...)``, ``registry.get(name).run_tool(...)`` and their kin.

An honest, simple check for foreign code bases: it goes by names. What it cannot see (an alias, a
``getattr``) is the business of ``scan_phase_12_violations.py`` in this project.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from migration.findings import Finding
from migration.source import Source, name_of

METHODS = ("run", "run_tool", "analyze")
_INSTEAD = {
    "run": "tool_runner.run(name, payload)",
    "run_tool": 'tool_runner.run(name, {"tool": tool, "args": args})',
    "analyze": (
        'tool_runner.run(name, {"image": data, "mime_type": mime_type, "options": options})'
    ),
}


def direct_calls(source: Source) -> Iterator[Finding]:
    """Yield each call of a plugin's own method, in the order of the file."""
    found = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS
        and _is_plugin(node.func.value)
    ]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
        assert isinstance(node.func, ast.Attribute)
        called = ast.unparse(node.func)
        yield Finding(
            source.path,
            node.lineno,
            f"direct call {called if len(called) <= 60 else '...' + called[-57:]}(...)",
            f"write result, error = {_INSTEAD[node.func.attr]}",
        )


def _is_plugin(node: ast.expr) -> bool:
    """Tell whether an expression is a plugin by its name, or by the registry that it is from."""
    name = name_of(node).lower()
    if isinstance(node, ast.Await):
        return _is_plugin(node.value)
    if name.rstrip("s").endswith("plugin") or name.startswith("plugin_"):
        return True
    is_lookup = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_lookup and name in {"get", "get_plugin"} and "registry" in ast.unparse(node).lower()
