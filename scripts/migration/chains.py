"""The tools of a plugin that tells them apart by ``if tool == "name"`` or by ``match tool``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from migration.arguments import parameters, tool_of
from migration.shape import Function, Tool
from migration.source import name_of
from migration.uses import forms

Branch = tuple[list[str], Sequence[ast.stmt]]


def chain_tools(method: Function, known: Mapping[str, Function]) -> dict[str, Tool] | None:
    """Return the tools that ``run_tool`` compares its first argument with, and what each takes.

    ``None`` if it does not, or also looks at it in ways that are not understood here.
    """
    names = [one.name for one in parameters(method)]
    if len(names) != 2:
        return None
    tool, args = names
    branches: list[Branch] = []
    for branch in _branches(method, tool):
        if branch is None:
            return None
        branches.append(branch)
    inside = {id(node) for _, body in branches for node in _nodes(body)}
    common = [node for node in ast.walk(method) if id(node) not in inside]
    used = forms(method, known, args)
    tools: dict[str, Tool] = {}
    for told, body in branches:
        for name in told:
            tools.setdefault(name, _of_branch([*common, *_nodes(body)], args, known, used))
    return tools or None


def _nodes(body: Sequence[ast.stmt]) -> list[ast.AST]:
    return [node for statement in body for node in ast.walk(statement)]


def _branches(method: Function, tool: str) -> Iterator[Branch | None]:
    """Yield each branch for some tools; ``None`` for one that nobody can tell the tools of."""
    for node in ast.walk(method):
        if isinstance(node, ast.If) and _mentions(node.test, tool):
            named = _literals(node.test, tool)
            if named:
                yield named, node.body
            elif not _is_refusal(node.body[0]):
                yield None
        elif isinstance(node, ast.Match) and name_of(node.subject) == tool:
            for case in node.cases:
                patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else []
                values = [
                    one.value.value
                    for one in patterns or [case.pattern]
                    if isinstance(one, ast.MatchValue) and isinstance(one.value, ast.Constant)
                ]
                yield [one for one in values if isinstance(one, str)], case.body


def _is_refusal(statement: ast.stmt) -> bool:
    """Tell whether a branch only says that there is no such tool."""
    works = any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return isinstance(statement, ast.Raise) or (isinstance(statement, ast.Return) and not works)


def _mentions(test: ast.expr, tool: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == tool for node in ast.walk(test))


def _literals(test: ast.expr, tool: str) -> list[str]:
    """Return the texts that a test compares the tool's name with: one of them, or some."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1):
        return []
    left, right = test.left, test.comparators[0]
    if isinstance(test.ops[0], ast.Eq):
        sides = [left, right] if name_of(left) == tool else [right, left]
        given = [sides[1]] if name_of(sides[0]) == tool else []
    elif isinstance(test.ops[0], ast.In) and isinstance(right, ast.Tuple | ast.List | ast.Set):
        given = right.elts if name_of(left) == tool else []
    else:
        given = []
    texts = [one.value for one in given if isinstance(one, ast.Constant)]
    return [one for one in texts if isinstance(one, str)] if len(texts) == len(given) else []


def _of_branch(
    nodes: Sequence[ast.AST], args: str, known: Mapping[str, Function], used: Mapping[str, bool]
) -> Tool:
    """Return what a tool takes: as the one method that gets all of it, or the keys read."""
    handlers = [
        name_of(node.func)
        for node in nodes
        if isinstance(node, ast.Call)
        and any(one.arg is None and name_of(one.value) == args for one in node.keywords)
    ]
    if len(handlers) == 1 and handlers[0] in known:
        return tool_of(known[handlers[0]], known)
    properties: dict[str, object] = {}
    required: list[str] = []
    for node in nodes:
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and name_of(node.value) == args:
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_read = node.func.attr == "get" and name_of(node.func.value) == args
            key = node.args[0] if is_read and node.args else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            properties.setdefault(key.value, {})
            if isinstance(node, ast.Subscript) and key.value not in required:
                required.append(key.value)
    own = {name: is_bytes for name, is_bytes in used.items() if name in properties}
    return Tool(dict(properties), tuple(required), own)
