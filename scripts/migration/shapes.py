"""Which classes and functions of a file are plugins, going by their names and methods."""

from __future__ import annotations

import ast

from migration.arguments import called, parameters, schema
from migration.calls import METHODS
from migration.findings import Finding
from migration.shape import HOOKS, Function, Shape, Tool
from migration.source import Source, name_of


def find(source: Source, wanted: str = "", *, is_named: bool = False) -> list[Shape | Finding]:
    """Return each plugin of a file, or why it cannot be called.

    ``wanted`` is the class or function that the plugin's metadata name. ``is_named``: somebody
    said that this file is a plugin, so its functions may be one.
    """
    classes = {node.name: node for node in source.tree.body if isinstance(node, ast.ClassDef)}
    found: list[Shape | Finding] = []
    for name, owner in classes.items():
        methods = _methods(owner, classes)
        if name == wanted or (not wanted and _is_plugin(owner, classes, methods)):
            found.append(_of_class(source, owner, classes, methods))
    if found or not is_named:
        return found
    functions = {node.name: node for node in source.tree.body if isinstance(node, Function)}
    for name in (wanted,) if wanted in functions else METHODS:
        if name in functions:
            return [_of_function(source, functions[name])]
    return found


def _is_plugin(
    owner: ast.ClassDef, classes: dict[str, ast.ClassDef], methods: dict[str, Function]
) -> bool:
    names = [owner.name, *(name_of(base) for base in owner.bases)]
    is_base = any(owner.name in map(name_of, other.bases) for other in classes.values())
    is_abstract = any(
        name_of(decorator) == "abstractmethod"
        for method in methods.values()
        for decorator in method.decorator_list
    )
    says_so = any(name.endswith(("Plugin", "PluginBase")) for name in names)
    return says_so and not is_base and not is_abstract and bool(methods.keys() & set(METHODS))


def _methods(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Function]:
    """Return the methods of a class, with those of its bases in the same file."""
    methods: dict[str, Function] = {}
    waiting, seen = [owner], {owner.name}
    while waiting:
        one = waiting.pop(0)
        for node in one.body:
            if isinstance(node, Function):
                methods.setdefault(node.name, node)
        for base in one.bases:
            name = name_of(base)
            if name in classes and name not in seen:
                seen.add(name)
                waiting.append(classes[name])
    return methods


def _of_class(
    source: Source,
    owner: ast.ClassDef,
    classes: dict[str, ast.ClassDef],
    methods: dict[str, Function],
) -> Shape | Finding:
    constructor = methods.get("__init__")
    needed = [p for p in parameters(constructor) if p.needed] if constructor else []
    if needed:
        assert constructor is not None
        what = f"{owner.name}() needs {', '.join(p.name for p in needed)}"
        instead = "give it defaults; an operator's settings are context.config of run"
        return Finding(source.path, constructor.lineno, what, instead)
    tools = _tools(owner, methods)
    method = next((name for name in METHODS if name in methods), None)
    if method == "run_tool" and "analyze" in methods and set(tools or {}) == {"analyze"}:
        method = "analyze"
    if method is None:
        what = f"{owner.name} has no method run, run_tool or analyze"
        return Finding(source.path, owner.lineno, what, "give it run(self, payload)")
    shape = called(source, owner.name, methods[method], tools)
    if isinstance(shape, Shape):
        shape.hooks = {
            name: isinstance(methods[name], ast.AsyncFunctionDef)
            for name in HOOKS
            if name in methods and not any(p.needed for p in parameters(methods[name]))
        }
        shape.may_await = not shape.is_async and any(
            isinstance(one, ast.AsyncFunctionDef)
            for name, one in methods.items()
            if name not in HOOKS and name != "on_unload"
        )
        shape.texts = _texts(owner, classes)
    return shape


def _of_function(source: Source, function: Function) -> Shape | Finding:
    return called(source, "", function, None)


def _tools(owner: ast.ClassDef, methods: dict[str, Function]) -> dict[str, Tool] | None:
    """Return the tools that a class lists in ``tools``, with the arguments of their methods."""
    for node in ast.walk(owner):
        target: ast.expr | None = None
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        if name_of(target) != "tools" or not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        if isinstance(node.value, ast.Dict):
            return {
                key.value: _tool(key.value, value, methods)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return None


def _tool(name: str, value: ast.expr, methods: dict[str, Function]) -> Tool:
    handler: ast.AST = value
    if isinstance(value, ast.Dict):
        for key, part in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "handler":
                handler = part
    called = name_of(handler)
    if isinstance(handler, ast.Constant) and isinstance(handler.value, str):
        called = handler.value
    method = methods.get(called) or methods.get(name)
    return schema([p for p in parameters(method) if not p.stars]) if method else Tool()


def _texts(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, str]:
    """Return what a class says of itself: ``name = "..."`` and its kin."""
    texts: dict[str, str] = {}
    bases = [classes[name_of(base)] for base in owner.bases if name_of(base) in classes]
    for one in (owner, *bases):
        for node in one.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                texts.setdefault(name_of(target), node.value.value)
    return texts
