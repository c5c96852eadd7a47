"""The imports: their direction, what stands in one place only, and plugin code in the parent."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from phase12.source import PACKAGES, Finding, Module

DIRECTION = "P12-IMPORT-DIRECTION"
ONE_PLACE = "P12-ONE-PLACE"
PLUGIN_CODE = "P12-PLUGIN-CODE"

BUNDLED = "plugins/bundled/"
INSIDE = "sandbox/inside/"
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
_LOADING_MODULES = {"runpy", "imp", "zipimport", "code", "codeop", "imp_load"}
_LOADING = {
    "import_module", "__import__", "exec_module", "module_from_spec", "spec_from_file_location",
    "spec_from_loader", "SourceFileLoader", "SourcelessFileLoader", "ExtensionFileLoader",
    "load_module", "run_path", "run_module", "find_loader", "zipimporter", "FunctionType",
}  # fmt: skip
# The import hook that gives plugins their logging calls the loader that it stands in for.
_HOOKS = {("sandbox/inside/logs.py", "exec_module")}
_BUILTINS = {"exec", "eval", "compile", "__import__"}


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
    """Yield what a module may not import, and how it might bring plugin code into the parent."""
    for node, name in imported(module):
        yield from _direction(module, node, name)
        top = name.partition(".")[0]
        place = _PLACES.get(top)
        if place is not None and not module.path.startswith(place):
            yield module.finding(node, ONE_PLACE, f"{top} is imported outside {place}")
    if not module.path.startswith((BUNDLED, f"{INSIDE}worker.py")):
        yield from _plugin_code(module)


def _direction(module: Module, node: ast.AST, name: str) -> Iterator[Finding]:
    package, top = module.path.partition("/")[0], name.partition(".")[0]
    if module.path.startswith(BUNDLED):
        if top in PACKAGES:
            yield module.finding(node, DIRECTION, f"a bundled plugin imports {name}, which is ours")
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


def _plugin_code(module: Module) -> Iterator[Finding]:
    for node, name in imported(module):
        parts = name.split(".")
        if name.startswith("plugins.bundled"):
            yield module.finding(node, PLUGIN_CODE, f"{name} is a plugin: the parent imports none")
        elif parts[0] in _LOADING_MODULES or (
            isinstance(node, ast.ImportFrom) and parts[-1] in _LOADING
        ):
            yield _loads(module, node, name)
    for attribute in module.nodes(ast.Attribute):
        if (module.path, attribute.attr) in _HOOKS:
            continue
        if attribute.attr in _LOADING:
            yield _loads(module, attribute, attribute.attr)
        elif attribute.attr == "load" and _is_entry_point(attribute.value):
            yield _loads(module, attribute, "load of an entry point")
        elif attribute.attr in _BUILTINS and _is_builtins(attribute.value):
            yield _loads(module, attribute, attribute.attr)
        elif attribute.attr == "path" and _is_changed_path(module, attribute):
            yield _loads(module, attribute, "a change of sys.path")
    for used in module.nodes(ast.Name):
        if used.id in _BUILTINS and isinstance(used.ctx, ast.Load):
            yield _loads(module, used, used.id)
    for call in module.nodes(ast.Call):
        is_getter = isinstance(call.func, ast.Name) and call.func.id == "getattr"
        if is_getter and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            name = str(call.args[1].value)
            if name in _LOADING | _BUILTINS:
                yield _loads(module, call, name)


def _loads(module: Module, node: ast.AST, what: str) -> Finding:
    sentence = f"{what} can bring plugin code into the parent; only {INSIDE}worker.py loads any"
    return module.finding(node, PLUGIN_CODE, sentence)


def _is_entry_point(node: ast.expr) -> bool:
    """Tell whether something may be an entry point: by its name, or by where it is taken from."""
    for one in ast.walk(node):
        name = (
            one.id
            if isinstance(one, ast.Name)
            else one.attr
            if isinstance(one, ast.Attribute)
            else ""
        )
        if name.lower() in {"ep", "point", "entry", "entry_point", "entrypoint", "entry_points"}:
            return True
    return False


def _is_builtins(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"builtins", "__builtins__"}


def _is_changed_path(module: Module, node: ast.Attribute) -> bool:
    if not (isinstance(node.value, ast.Name) and node.value.id == "sys"):
        return False
    if isinstance(node.ctx, ast.Store):
        return True
    parent = module.parents.get(node)
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"append", "insert", "extend"}
    return isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Store)
