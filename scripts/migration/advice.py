"""What whoever knows a plugin should look at: it loads here, and may yet do something else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from migration.findings import Finding, Plan
from migration.host import own_attributes
from migration.manifest import Facts, legal_name
from migration.shape import HOOKS, Function, Shape
from migration.source import Source, imports, name_of

_KEPT = (
    'have the caller send what has to be kept, or write start = "resident" in the manifest, which '
    "the operator has to allow"
)
_NETWORK = frozenset({"aiohttp", "ftplib", "http", "httpx", "requests", "socket", "urllib3"})


def note(plan: Plan, source: Source, shape: Shape, facts: Facts, path: Path) -> None:
    """Note in a plan that it makes a plugin of a path, and what to look at."""
    name = legal_name(facts.name)
    plan.plugins[name] = path
    if name != facts.name:
        what = f"the name {facts.name!r} is not legal here and became {name}"
        plan.notes.append(Finding(source.path, shape.line, what, "callers use the new name"))
    for text in facts.not_requirements:
        what = f"{text!r} is no requirement, and left out of its dependencies"
        plan.notes.append(Finding(source.path, 1, what, "write it as pip would take it"))
    plan.notes += _advice(source, shape)


def _advice(source: Source, shape: Shape) -> Iterator[Finding]:
    """Yield what may be different for a plugin in a box."""
    yield from _kept_between_calls(source, shape.owner)
    yield from _globals_kept(source)
    yield from _outside(source)
    for node in ast.walk(source.tree):
        if isinstance(node, Function) and node.name == "on_unload" and shape.owner:
            what = "on_unload is never called: a call's process ends with the call"
            yield Finding(source.path, node.lineno, what, "clean up before the answer")
    if not shape.is_object:
        what = f"what {shape.method} returns is not known to be an object"
        instead = 'a list, text or number arrives as {"result": ...}'
        yield Finding(source.path, shape.line, what, instead)


def _outside(source: Source) -> Iterator[Finding]:
    """Yield where a plugin reaches for the network or the environment."""
    for statement, _ in imports(source.tree):
        modules = [alias.name for alias in statement.names]
        if isinstance(statement, ast.ImportFrom):
            modules = [statement.module or ""]
        for name in modules:
            if name.partition(".")[0] in _NETWORK or name == "urllib.request":
                what = f"imports {name}, and a plugin has no network unless it asks for it"
                instead = "set network = true in the manifest; the operator has to allow it"
                yield Finding(source.path, statement.lineno, what, instead)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}:
            what = "reads the environment, which holds nothing of the host's"
            yield Finding(source.path, node.lineno, what, "take it from context.config of run")


def _kept_between_calls(source: Source, owner: str) -> Iterator[Finding]:
    """Yield what a class stores on itself during calls: here each call is a new process."""
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef) or node.name != owner:
            continue
        known = own_attributes(node)
        seen: set[str] = set()
        for method in node.body:
            if not isinstance(method, Function) or method.name in {*HOOKS, "__init__", "on_unload"}:
                continue
            for part in ast.walk(method):
                if not isinstance(part, ast.Attribute) or not isinstance(part.ctx, ast.Store):
                    continue
                if name_of(part.value) == "self" and part.attr in known - seen:
                    seen.add(part.attr)
                    what = f"self.{part.attr} is set during a call, and no later call sees it"
                    yield Finding(source.path, part.lineno, what, _KEPT)


def _globals_kept(source: Source) -> Iterator[Finding]:
    """Yield the names of a module that its functions set."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            names = ", ".join(node.names)
            what = f"{names} may be set during a call, and no later call sees it"
            yield Finding(source.path, node.lineno, what, _KEPT)
