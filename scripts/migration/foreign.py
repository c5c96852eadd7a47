"""Plugins of a kind that nothing is made of: hooks, and functions that a host collects.

How such a host calls them nobody knows from here, so they are named for a person.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from migration.calls import METHODS
from migration.findings import Finding
from migration.shape import Function
from migration.shapes import is_interface, says_so
from migration.source import Source, name_of

_INSTEAD = "write run(payload) in a file of its own, which calls it, and migrate that file"
_HOOKS = frozenset({"hookimpl", "hook_impl", "impl"})
_COLLECTS = frozenset({"plugin", "tool", "register", "processor", "skill"})
# Decorators of these names that collect no plugins.
_OTHERS = frozenset(
    {"atexit", "codecs", "abc", "admin", "signal", "singledispatch", "faulthandler"}
)
_TABLES = frozenset({"tools", "plugins", "handlers", "processors"})
_MOST = 6


def plugins(source: Source, bases: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield what of a file is a plugin of another kind; ``bases`` are classes to derive from."""
    functions = [node for node in ast.walk(source.tree) if isinstance(node, Function)]
    hooks = [one for one in functions if any(map(_is_hook, one.decorator_list))]
    if hooks:
        yield _finding(source, hooks, "hooks of another host")
    generic = {one.name for one in functions if _decorators(one) & {"singledispatch"}}
    collected = [
        one
        for one in functions
        if one not in hooks and any(_collects(d, generic) for d in one.decorator_list)
    ]
    if collected:
        yield _finding(source, collected, "functions that another host collects")
    listed = sorted(_listed(source.tree), key=lambda one: one.lineno)
    if listed:
        yield _finding(source, listed, "functions in a table of another host")
    classes = [
        node
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and node.name not in bases and _is_of_another(node)
    ]
    if classes:
        what = f"classes without {', '.join(METHODS[:-1])} or {METHODS[-1]}"
        yield _finding(source, classes, what)


def _finding(
    source: Source,
    found: list[ast.FunctionDef | ast.AsyncFunctionDef] | list[ast.ClassDef],
    what: str,
) -> Finding:
    names = [one.name for one in found]
    shown = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if names[_MOST:] else "")
    return Finding(source.path, found[0].lineno, f"{what}: {shown}", _INSTEAD)


def _decorators(node: Function) -> set[str]:
    return {name_of(decorator) for decorator in node.decorator_list}


def _is_hook(decorator: ast.expr) -> bool:
    name = name_of(decorator).lower()
    return name in _HOOKS or name.endswith("hookimpl")


def _collects(decorator: ast.expr, generic: set[str]) -> bool:
    """Tell whether a decorator puts a function into a host's collection, going by its words."""
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    names = [name_of(part).lower() for part in ast.walk(node) if name_of(part)]
    if not names or {*names} & _OTHERS or {name_of(part) for part in ast.walk(node)} & generic:
        return False
    name = names[0]
    says = name.startswith(("register_", "plugin_")) or name.endswith(("_plugin", "_tool"))
    return says or name in _COLLECTS or any(part.rstrip("s") == "plugin" for part in names)


def _listed(tree: ast.Module) -> Iterator[Function]:
    """Yield the functions that stand in a module's table of tools, each once."""
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if {name_of(target).lower().lstrip("_") for target in targets} & _TABLES:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            for part in ast.walk(value) if value else ():
                if isinstance(part, ast.Name) and part.id in functions:
                    yield functions.pop(part.id)


def _is_of_another(owner: ast.ClassDef) -> bool:
    """Tell whether a class is derived from a plugin's base, and is neither called nor a base."""
    by_base = [name_of(base) for base in owner.bases]
    is_derived = says_so(ast.ClassDef("", owner.bases, [], [], []))
    methods = {node.name for node in owner.body if isinstance(node, Function)}
    is_error = owner.name.endswith(("Error", "Exception")) or "Exception" in by_base
    return is_derived and bool(methods) and not (is_error or is_interface(owner))
