"""The imports: their direction, and what is imported in one place only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from phase12.source import PACKAGES, Finding, Module

DIRECTION = "P12-IMPORT-DIRECTION"
ONE_PLACE = "P12-ONE-PLACE"

# Plugins that are shipped: they run in boxes like any other, and the parent never imports them.
SHIPPED = ("plugins/bundled/", "plugins/faults/")
INSIDE = "sandbox/inside/"
PACKAGE = "toolrunner."  # what the folders are packages of
SHARED = "sandbox.inside.protocol"

_BELOW = {
    "api": {"runner", "plugins", "sandbox"},
    "runner": {"plugins", "sandbox"},
    "plugins": {"sandbox"},
    "sandbox": set[str](),
}
_NEVER = {"tests", "scripts"}
_PLACES = {
    "ctypes": "sandbox/inside/syscalls.py",
    "_ctypes": "sandbox/inside/syscalls.py",
    "cffi": "sandbox/inside/syscalls.py",
    "fastapi": "api/",
    "starlette": "api/",
    "uvicorn": "api/",
}


def imported(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield everything that is imported, by its full name; relative ones are made absolute."""
    package = module.path.rpartition("/")[0].split("/")
    for plain in module.nodes(ast.Import):
        yield from ((plain, alias.name) for alias in plain.names)
    for node in module.nodes(ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        start = ".".join([*base, *([node.module] if node.module else [])])
        yield from ((node, f"{start}.{alias.name}") for alias in node.names)


def check(module: Module) -> Iterator[Finding]:
    """Yield what a module may not import."""
    for node, name in imported(module):
        yield from _direction(module, node, name)
        if module.path.startswith(SHIPPED):
            continue
        top = name.partition(".")[0]
        place = _PLACES.get(top)
        if place is not None and not module.path.startswith(place):
            yield module.finding(node, ONE_PLACE, f"{top} is imported outside {place}")


def _direction(module: Module, node: ast.AST, name: str) -> Iterator[Finding]:
    name = name.removeprefix(PACKAGE)
    package, top = module.path.partition("/")[0], name.partition(".")[0]
    if module.path.startswith(SHIPPED):
        if top in PACKAGES:
            yield module.finding(node, DIRECTION, f"a shipped plugin imports {name}, which is ours")
    elif module.path.startswith(INSIDE):
        own = name.startswith(("sandbox.inside.", "toolrunner_inside."))
        if not own and top not in sys.stdlib_module_names:
            sentence = f"{INSIDE} imports {name}; in a box there is only the standard library"
            yield module.finding(node, DIRECTION, sentence)
    elif top in _NEVER:
        yield module.finding(node, DIRECTION, f"what is installed imports {name}, which is not")
    elif top in PACKAGES and top != package and top not in _BELOW[package]:
        yield module.finding(node, DIRECTION, f"{package} imports {name}, which is above it")
    elif name.startswith("sandbox.inside") and not name.startswith(SHARED):
        sentence = f"{name} is made for the box; outside it only {SHARED} is shared"
        yield module.finding(node, DIRECTION, sentence)
    elif package == "sandbox" and top not in {"sandbox", "psutil", *sys.stdlib_module_names}:
        sentence = f"sandbox imports {name}; it stands on the standard library and psutil alone"
        yield module.finding(node, DIRECTION, sentence)
