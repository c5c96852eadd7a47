"""What a plugin's author has to change whether or not a machine does the rest.

An error inside a result counts as a success here, and a name that a host puts into a module is
not there. Either is said wherever it stands, until it is mended or a comment beside it answers:
``# by hand: why it stays``.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterable, Iterator

from migration.findings import Finding, Plan
from migration.shape import Function
from migration.source import Source, name_of

_ANSWER = re.compile(r"#\s*by hand:\s*(\S.*)")
_FAILURES = frozenset({"error", "errors", "exception", "traceback", "error_message"})
_VERDICTS = frozenset({"ok", "success", "succeeded"})
_STATES = frozenset({"error", "failed", "failure"})
_RAISE = (
    "raise an exception (of a class named InvalidInput where the input is at fault), or name its "
    "key as error_key in the manifest: a result is a success here"
)
# What a module has without binding it.
_GIVEN = frozenset(
    {
        "__annotations__", "__builtins__", "__class__", "__debug__", "__dict__", "__doc__",
        "__file__", "__loader__", "__module__", "__name__", "__package__", "__path__",
        "__qualname__", "__spec__",
    }
)  # fmt: skip
# With one of these, names may come from anywhere.
_UNFORESEEABLE = frozenset({"exec", "globals", "setattr", "vars", "NameError"})


def error_key(sources: Iterable[Source]) -> str:
    """Return the key under which a plugin's results hold its errors; "" if there is not one."""
    keys = {
        key
        for source in sources
        for key, finding in _errors_in_results(source)
        if key in _FAILURES and _answer(source, finding) is None
    }
    return "error" if "error" in keys else keys.pop() if len(keys) == 1 else ""


def note(plan: Plan, source: Source, declared: str = "", *, is_new: bool = False) -> None:
    """Note in a plan what remains to be done in one of a plugin's files.

    ``declared``: the ``error_key`` of its manifest, which ``is_new`` or was there.
    """
    found = [*_errors_in_results(source), *(("", one) for one in _unknown_names(source))]
    for key, finding in found:
        answer = _answer(source, finding)
        if answer is not None:
            what = f"{finding.what}, and a comment says why: {answer}"
        elif key and key == declared:
            if not is_new:
                continue
            what = f"{finding.what}, and error_key in its manifest makes it an ExecutionError"
        else:
            plan.left.append(finding)
            continue
        plan.notes.append(Finding(finding.path, finding.line, what, "nothing to do"))


def _answer(source: Source, finding: Finding) -> str | None:
    """Return what a comment beside a finding says."""
    answer = _ANSWER.search(source.text.split("\n")[finding.line - 1])
    return answer[1].strip() if answer else None


def _errors_in_results(source: Source) -> Iterator[tuple[str, Finding]]:
    """Yield each error that is returned, with its key."""
    for function in ast.walk(source.tree):
        if not isinstance(function, Function):
            continue
        returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]
        names = {name_of(value) for value in returned if isinstance(value, ast.Name)}
        for node in ast.walk(function):
            if not isinstance(node, ast.stmt):
                continue
            parts: list[tuple[object, ast.expr]] = []
            if isinstance(node, ast.Assign):
                parts = [
                    (target.slice.value, node.value)
                    for target in node.targets
                    if isinstance(target, ast.Subscript)
                    and name_of(target.value) in names
                    and isinstance(target.slice, ast.Constant)
                ]
                if any(name_of(target) in names for target in node.targets):
                    parts += _parts(node.value)
            elif isinstance(node, ast.Return) and node.value:
                parts = _parts(node.value)
            keys = [str(key) for key, value in parts if _is_failure(key, value)]
            # One that can be declared is enough, whatever else the result says.
            for key in sorted(keys, key=lambda one: (one != "error", one not in _FAILURES))[:1]:
                what = f"{function.name} returns an error inside its result ({key!r})"
                yield key, Finding(source.path, node.lineno, what, _RAISE)


def _parts(value: ast.expr) -> list[tuple[object, ast.expr]]:
    """Return the keys of an object that an expression makes, with what they get."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return [(key.value, part) for key, part in pairs if isinstance(key, ast.Constant)]
    if isinstance(value, ast.Call) and (name_of(value)[:1].isupper() or name_of(value) == "dict"):
        return [(one.arg, one.value) for one in value.keywords]
    return []


def _is_failure(key: object, value: ast.expr) -> bool:
    said = value.value if isinstance(value, ast.Constant) else value
    if key in _FAILURES:
        is_empty = isinstance(value, ast.List | ast.Dict) and not ast.unparse(value)[1:-1]
        return bool(said) and not is_empty and not isinstance(said, int | float)
    if key in _VERDICTS:
        return said is False
    return key in {"status", "state"} and isinstance(said, str) and said.lower() in _STATES


def _unknown_names(source: Source) -> Iterator[Finding]:
    """Yield each name that a file uses, and that neither it nor Python defines."""
    used = [node for node in ast.walk(source.tree) if isinstance(node, ast.Name)]
    if any(node.id in _UNFORESEEABLE for node in used) or _imports_all(source.tree):
        return
    # A name in an annotation, or below TYPE_CHECKING, is not looked up when the plugin runs.
    try:
        tree = ast.fix_missing_locations(_AtRunTime().visit(ast.parse(source.text)))
        top = symtable.symtable(ast.unparse(tree), "plugin", "exec")
    except (RecursionError, SyntaxError):
        return  # nested too deeply, or what no compiler takes: it says so when it is loaded
    known = {*dir(builtins), *_GIVEN, *_bound(top)}
    unknown = set(_looked_up(top)) - known
    for name in sorted(unknown):
        line = min(node.lineno for node in used if node.id == name)
        what = f"uses {name}, which it neither defines nor imports"
        yield Finding(source.path, line, what, "import it; what a host adds is not in the box")


def _imports_all(tree: ast.Module) -> bool:
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return any(alias.name == "*" for node in statements for alias in node.names)


class _AtRunTime(ast.NodeTransformer):
    """Takes away what is there for type checkers."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant("")
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if name_of(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
        return self.generic_visit(node)


def _bound(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that a module binds: at its top level, or as globals of its functions."""
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        binds = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
        if binds and (is_top or symbol.is_declared_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _bound(child)


def _looked_up(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that are looked up in a module."""
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _looked_up(child)
