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
    "run_tool": 'tool_runner.run(f"{name}:{tool}", args)',
    "analyze": (
        'tool_runner.run(name, {"image": data, "mime_type": mime_type, "options": options})'
    ),
}


# What looks at a method and has it run nowhere.
_LOOK_AT = frozenset({"callable", "getsource", "iscoroutinefunction", "signature", "isinstance"})
# What has "plugin" in its name and is none.
_KEEPERS = ("manager", "registry", "runner", "service", "loader", "host", "path", "dir", "id")
_HANDLERS = frozenset({"handler", "callable", "func", "function"})


def direct_calls(source: Source) -> Iterator[Finding]:
    """Yield each call of a plugin's own method, in the order of the file.

    A method that is handed on, to an executor for one, is called as well.
    """
    found: list[tuple[int, int, str, str]] = []
    called = {id(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    looked_at = {
        id(part)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and name_of(node.func) in _LOOK_AT
        for part in node.args
    }
    for node in ast.walk(source.tree):
        text, method = "", ""
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if node.attr in METHODS and _is_plugin(node.value) and id(node) not in looked_at:
                method = node.attr
                is_call = id(node) in called
                text = f"direct call {_cut(node)}(...)" if is_call else f"hands on {_cut(node)}"
        elif isinstance(node, ast.Call) and _is_named_method(node):
            method, text = str(_constant(node.args[1])), f"fetches {_cut(node)}"
        elif isinstance(node, ast.Call) and _is_from_table(node.func):
            method, text = "run_tool", f"direct call {_cut(node.func)}(...)"
        if text:
            assert isinstance(node, ast.expr)
            found.append((node.lineno, node.col_offset, text, method))
    for line, _, text, method in sorted(found):
        yield Finding(source.path, line, text, f"write result, error = {_INSTEAD[method]}")


def _cut(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else "..." + text[-57:]


def _constant(node: ast.AST) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _is_named_method(call: ast.Call) -> bool:
    """Tell whether a call is ``getattr(plugin, "run")`` or its like."""
    is_getattr = name_of(call.func) in {"getattr", "methodcaller"} and len(call.args) > 1
    return is_getattr and _constant(call.args[1]) in METHODS and _is_plugin(call.args[0])


def _is_from_table(node: ast.expr) -> bool:
    """Tell whether what is called stands in a table of tools or plugins."""
    if not isinstance(node, ast.Subscript):
        return False
    if _constant(node.slice) in _HANDLERS:
        return True
    table = name_of(node.value).lower().lstrip("_")
    return isinstance(node.value, ast.Name | ast.Attribute) and table in {"tools", "plugins"}


def _is_plugin(node: ast.expr) -> bool:
    """Tell whether an expression is a plugin by its name, or by the registry that it is from."""
    name = name_of(node).lower()
    if isinstance(node, ast.Await):
        return _is_plugin(node.value)
    if name.rstrip("s").endswith("plugin"):
        return True
    if name.startswith("plugin_") and not name.endswith(_KEEPERS):
        return True
    is_lookup = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_lookup and name in {"get", "get_plugin"} and "registry" in ast.unparse(node).lower()
