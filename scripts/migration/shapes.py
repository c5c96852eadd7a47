"""Which classes and functions of a file are plugins, going by their names and methods."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Mapping
from types import MappingProxyType

from migration.arguments import called, parameters, tool_of
from migration.calls import METHODS
from migration.chains import chain_tools
from migration.findings import Finding
from migration.shape import HOOKS, PROGRESS, Function, Shape, Tool
from migration.source import Source, name_of
from migration.tools import merged, tools_said
from migration.uses import forms

# What ends the name of a class that says that it is a plugin, or whose subclasses are some.
_SAYS_SO = ("Plugin", "PluginBase", "PluginInterface", "PluginProtocol")


def find(
    source: Source,
    wanted: str = "",
    *,
    is_named: bool = False,
    declared: Mapping[str, Tool] = MappingProxyType({}),
    bases: Collection[str] = (),
) -> list[Shape | Finding]:
    """Return each plugin of a file, or why it cannot be called.

    ``wanted`` is the class or function that the plugin's metadata name, ``declared`` the tools
    that they list. ``is_named``: somebody said that this file is a plugin, so its functions may
    be one. ``bases``: classes that others elsewhere are derived from.
    """
    classes = {node.name: node for node in source.tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in source.tree.body if isinstance(node, Function)}
    found: list[Shape | Finding] = []
    for name, owner in classes.items():
        methods = _methods(owner, classes)
        if name == wanted or (
            not wanted and name not in bases and _is_plugin(owner, classes, methods)
        ):
            found.append(_of_class(source, owner, classes, methods, functions, declared))
    if found or not is_named:
        return found
    for name in (wanted,) if wanted in functions else METHODS:
        if name in functions:
            return [called(source, "", functions[name], None)]
    return found


def says_so(owner: ast.ClassDef) -> bool:
    """Tell whether a class is a plugin by its name, or by those of its bases."""
    return any(name.endswith(_SAYS_SO) for name in (owner.name, *map(name_of, owner.bases)))


def is_interface(owner: ast.ClassDef) -> bool:
    """Tell whether a class only says what plugins have: a Protocol, or with abstract methods."""
    return "Protocol" in map(name_of, owner.bases) or any(
        name_of(decorator) == "abstractmethod"
        for method in owner.body
        if isinstance(method, Function)
        for decorator in method.decorator_list
    )


def _is_plugin(
    owner: ast.ClassDef, classes: dict[str, ast.ClassDef], methods: dict[str, Function]
) -> bool:
    is_base = any(owner.name in map(name_of, other.bases) for other in classes.values())
    is_callable = bool(methods.keys() & set(METHODS))
    return says_so(owner) and not is_base and not is_interface(owner) and is_callable


def _methods(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Function]:
    """Return the methods of a class, with those of its bases in the same file.

    One that a plugin is called by and that has no body is left out: it says what others have.
    """
    methods: dict[str, Function] = {}
    waiting, seen = [owner], {owner.name}
    while waiting:
        one = waiting.pop(0)
        for node in one.body:
            if isinstance(node, Function) and not (node.name in METHODS and _is_stub(node)):
                methods.setdefault(node.name, node)
        for base in one.bases:
            name = name_of(base)
            if name in classes and name not in seen:
                seen.add(name)
                waiting.append(classes[name])
    return methods


def _is_stub(function: Function) -> bool:
    for node in function.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        raised = name_of(node.exc) if isinstance(node, ast.Raise) else ""
        if not (is_text or isinstance(node, ast.Pass) or raised == "NotImplementedError"):
            return False
    return True


def _of_class(
    source: Source,
    owner: ast.ClassDef,
    classes: dict[str, ast.ClassDef],
    methods: dict[str, Function],
    functions: dict[str, Function],
    declared: Mapping[str, Tool],
) -> Shape | Finding:
    constructor = methods.get("__init__")
    needed = [p for p in parameters(constructor) if p.needed] if constructor else []
    if needed:
        assert constructor is not None
        what = f"{owner.name}() needs {', '.join(p.name for p in needed)}"
        instead = "give it defaults; an operator's settings are context.config of run"
        return Finding(source.path, constructor.lineno, what, instead)
    tools = _tools(owner, {**functions, **methods})
    if tools is None and "run_tool" in methods and not declared:
        tools = chain_tools(methods["run_tool"], {**functions, **methods})
    method = next((name for name in METHODS if name in methods), None)
    if method == "run_tool" and "analyze" in methods and set(tools or {}) == {"analyze"}:
        method = "analyze"
    if method is None:
        what = f"{owner.name} has no method run, run_tool or analyze"
        return Finding(source.path, owner.lineno, what, "give it run(self, payload)")
    shape = called(source, owner.name, methods[method], tools)
    if isinstance(shape, Shape):
        if shape.tools is not None:
            shape.tools = _declared(
                declared, shape.tools, methods[method], {**functions, **methods}
            )
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


def _declared(
    declared: Mapping[str, Tool],
    coded: dict[str, Tool],
    method: Function,
    known: dict[str, Function],
) -> dict[str, Tool]:
    """Return a plugin's tools: what its metadata say of each, and what its code shows."""
    args = [p.name for p in parameters(method)][1:2]
    speaks = any(isinstance(n, ast.Constant) and n.value == PROGRESS for n in ast.walk(method))
    read = forms(method, known, args[0]) if args else {}
    tools: dict[str, Tool] = {}
    for name in {**declared, **coded}:
        said = declared.get(name)
        handlers = [said.handler if said else "", name, name.replace("-", "_")]
        found = next((known[one] for one in handlers if one in known), None)
        code = coded.get(name) or Tool()
        if not code.properties:
            made = tool_of(found, known) if found else Tool(forms=dict(read), tells=speaks)
            code = merged(code, made)
        tools[name] = merged(said, code)
    return tools


def _tools(owner: ast.ClassDef, known: dict[str, Function]) -> dict[str, Tool] | None:
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
                key.value: _tool(key.value, value, known)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return None


def _tool(name: str, value: ast.expr, known: dict[str, Function]) -> Tool:
    handler: ast.AST = value
    said: dict[str, object] = {}
    if isinstance(value, ast.Dict):
        for key, part in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "handler":
                handler = part
            elif isinstance(key, ast.Constant):
                with contextlib.suppress(ValueError):  # it is made when the plugin runs
                    said[str(key.value)] = ast.literal_eval(part)
    named = name_of(handler)
    if isinstance(handler, ast.Constant) and isinstance(handler.value, str):
        named = handler.value
    function = known.get(named) or known.get(name)
    coded = tool_of(function, known) if function else None
    return merged(tools_said({name: said}).get(name), coded)


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
