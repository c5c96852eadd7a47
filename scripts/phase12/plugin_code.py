"""P12-PLUGIN-CODE: the parent imports, executes and loads no plugin."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.imports import INSIDE, SHIPPED, imported
from phase12.source import Finding, Module, last_name

PLUGIN_CODE = "P12-PLUGIN-CODE"

_LOADING_MODULES = {"runpy", "imp", "zipimport", "code", "codeop"}
_LOADING = {
    "import_module", "__import__", "exec_module", "module_from_spec", "spec_from_file_location",
    "spec_from_loader", "SourceFileLoader", "SourcelessFileLoader", "ExtensionFileLoader",
    "load_module", "run_path", "run_module", "find_loader", "zipimporter", "FunctionType",
}  # fmt: skip
# The import hook that gives plugins their logging calls the loader that it stands in for.
_HOOKS = {("sandbox/inside/logs.py", "exec_module")}
_BUILTINS = {"exec", "eval", "compile", "__import__"}


def check(module: Module) -> Iterator[Finding]:
    """Yield what might bring plugin code into the parent."""
    if module.path.startswith((*SHIPPED, f"{INSIDE}worker.py")):
        return
    yield from _imports(module)
    for attribute in module.nodes(ast.Attribute):
        if what := _loader(module, attribute):
            yield _loads(module, attribute, what)
    for used in module.nodes(ast.Name):
        if used.id in _BUILTINS and isinstance(used.ctx, ast.Load):
            yield _loads(module, used, used.id)
    for call in module.nodes(ast.Call):
        if last_name(call.func) == "getattr" and len(call.args) > 1:
            name = call.args[1]
            if isinstance(name, ast.Constant) and name.value in _LOADING | _BUILTINS:
                yield _loads(module, call, str(name.value))


def _imports(module: Module) -> Iterator[Finding]:
    for node, name in imported(module):
        parts = name.split(".")
        is_loader = isinstance(node, ast.ImportFrom) and parts[-1] in _LOADING | _BUILTINS
        if name.startswith("toolrunner.plugins.bundled"):
            yield module.finding(node, PLUGIN_CODE, f"{name} is a plugin: the parent imports none")
        elif parts[0] in _LOADING_MODULES or is_loader:
            yield _loads(module, node, name)


def _loader(module: Module, attribute: ast.Attribute) -> str:
    """Return what an attribute is that can load code; "" if it is none."""
    if (module.path, attribute.attr) in _HOOKS:
        return ""
    if attribute.attr in _LOADING:
        return attribute.attr
    if attribute.attr == "load" and _is_entry_point(attribute.value):
        return "load of an entry point"
    if attribute.attr in _BUILTINS and _is_builtins(attribute.value):
        return attribute.attr
    return "a change of sys.path" if _is_changed_path(module, attribute) else ""


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
    if node.attr != "path" or last_name(node.value) != "sys":
        return False
    if isinstance(node.ctx, ast.Store):
        return True
    parent = module.parents.get(node)
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"append", "insert", "extend"}
    return isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Store)
