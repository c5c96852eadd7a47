"""What a plugin imports from the host that it was written for, and what can stand in for it.

In a box there is nothing of the host. For a base class and records that are built from keywords a
few lines in the plugin's own file stand in there, and the host still finds its own; anything else
is for a person.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from migration.findings import Finding
from migration.source import Source, imports, name_of

HOSTS = frozenset({"app", "server", "forgesyte", "forgesyte_core", "forgesyte_server"})
# What the stand-in of a base class has. ``name`` and its kin are the plugin's own to define.
BASE_METHODS = ("__init__", "validate", "on_load", "on_unload")
_BASE_ATTRIBUTES = ("name", "version", "description", "tools")

_BASE = """\
class {bound}:  # Stands in for the host's.
    def __init__(self, *args, **kwargs):
        pass

    def validate(self):
        pass

    def on_load(self):
        pass

    def on_unload(self):
        pass
"""
_RECORD = """\
class {bound}:  # Stands in for the host's, with the fields given.
    def __init__(self, **fields):
        self.__dict__.update(fields)

    def model_dump(self, **_how):
        return dict(self.__dict__)
"""
_ERROR = """\
class {bound}(Exception):  # Stands in for the host's.
    pass
"""


@dataclass(slots=True)
class Replaced:
    """A file's text without its host, and what is left for a person."""

    text: str
    by_hand: list[Finding] = field(default_factory=list)


def without_host(
    source: Source, hosts: Iterable[str], local: Iterable[str], depth: int = 0
) -> Replaced:
    """Have a file do without its host where that is missing; ``local`` are its own modules.

    ``depth``: how many folders below the plugin's own the file lies, for its relative imports.
    """
    names = set(hosts) - set(local)
    uses = _Uses(source.tree)
    lines = source.text.split("\n")
    replaced = Replaced(source.text)
    for statement in sorted(
        _host_imports(source.tree, names, set(local), depth), key=_from_the_end
    ):
        try:
            _replace(lines, statement, "\n\n".join(_stand_ins(statement, uses)) or "pass")
        except _NotByMachineError as error:
            replaced.by_hand.append(Finding(source.path, statement.lineno, *error.args))
    replaced.by_hand += _inherited(source, uses, names, set(local), depth)
    replaced.by_hand.sort()
    replaced.text = "\n".join(lines)
    return replaced


class _NotByMachineError(Exception):
    """Carries what is in the way, and what a person can do."""


class _Uses:
    """Every place where a module uses a name, by name, with the node around it."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._of: dict[str, list[tuple[ast.AST, ast.AST, str]]] = {}
        for parent in ast.walk(tree):
            for field_name, value in ast.iter_fields(parent):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.Name):
                        self._of.setdefault(child.id, []).append((child, parent, field_name))
        self._in_annotations = {
            id(part)
            for node in ast.walk(tree)
            for part_of in (getattr(node, "annotation", None), getattr(node, "returns", None))
            if isinstance(part_of, ast.AST)
            for part in ast.walk(part_of)
        }

    def kinds(self, name: str) -> set[str]:
        """Return how a name is used: base, annotation, record, error, type, other."""
        return {self._kind(*use) for use in self._of.get(name, [])}

    def _kind(self, node: ast.AST, parent: ast.AST, where: str) -> str:
        if id(node) in self._in_annotations:
            return "annotation"
        if isinstance(parent, ast.ClassDef) and where == "bases":
            return "base"
        if isinstance(parent, ast.Raise | ast.ExceptHandler):
            return "error"
        if isinstance(parent, ast.Call) and where == "func":
            if name_of(node).endswith(("Error", "Exception")):
                return "error"
            return "other" if parent.args else "record"
        if isinstance(parent, ast.Call) and name_of(parent.func) == "isinstance":
            return "type"
        return "other"


def _host_imports(
    tree: ast.Module, hosts: set[str], local: set[str], depth: int
) -> Iterator[ast.Import | ast.ImportFrom]:
    for statement, is_optional in imports(tree):
        if is_optional:
            continue
        if isinstance(statement, ast.Import):
            if any(alias.name.partition(".")[0] in hosts for alias in statement.names):
                yield statement
        elif statement.level:
            if statement.level > depth + 1:
                yield statement
        else:
            top = (statement.module or "").partition(".")[0]
            is_foreign = top not in local and top not in sys.stdlib_module_names
            if top in hosts or (is_foreign and _plugin_bases(tree, statement)):
                yield statement


def _plugin_bases(tree: ast.Module, statement: ast.ImportFrom) -> set[str]:
    """Return the base classes for plugins that a statement imports, going by their names."""
    bound = {
        alias.asname or alias.name for alias in statement.names if "plugin" in alias.name.lower()
    }
    bases = {
        name_of(base)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    return bound & bases


def _stand_ins(statement: ast.Import | ast.ImportFrom, uses: _Uses) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        message = f"imports the host's module {statement.names[0].name}, which is not in the box"
        raise _NotByMachineError(message, "take what the plugin needs of it into the plugin")
    for alias in statement.names:
        origin = f"{'.' * statement.level}{statement.module or ''}.{alias.name}"
        kinds = uses.kinds(alias.asname or alias.name)
        template = _template(alias.name, kinds)
        if template is None:
            message = f"uses {origin} of the host, which is not in the box"
            raise _NotByMachineError(message, "write what the plugin needs of it in the plugin")
        if kinds:
            yield template.format(bound=alias.asname or alias.name).rstrip("\n")


def _template(name: str, kinds: set[str]) -> str | None:
    """Return the stand-in for a name that is used so; ``None`` when none will do."""
    if kinds and not name[:1].isupper():
        return None  # a function, and nobody knows what it does
    if kinds <= {"annotation", "record", "type"}:
        return None if name == "*" else _RECORD
    if kinds <= {"error", "annotation", "type"}:
        return _ERROR
    if kinds <= {"base", "annotation", "type"} and "plugin" in name.lower():
        return _BASE
    return None


def _from_the_end(statement: ast.stmt) -> int:
    return -statement.lineno


def _replace(lines: list[str], statement: ast.stmt, stand_ins: str) -> None:
    """Let a statement that has its lines for itself fail, and have something else then."""
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    indent = lines[first].encode()[: statement.col_offset].decode()
    after = lines[last].encode()[statement.end_col_offset :].decode().strip()
    if indent.strip() or (after and not after.startswith("#")):
        message = "imports from the host in a line with other statements"
        raise _NotByMachineError(message, "give the import a line of its own")
    inner = [f"    {line}" if line.strip() else line for line in lines[first : last + 1]]
    inner += [f"{indent}except ImportError:  # In a box of Toolrunner there is no host."]
    inner += [f"{indent}    {line}" if line else "" for line in stand_ins.split("\n")]
    lines[first : last + 1] = [f"{indent}try:", *inner]


def _inherited(
    source: Source, uses: _Uses, hosts: set[str], local: set[str], depth: int
) -> Iterator[Finding]:
    """Yield what plugin classes take from a base class that will not be there."""
    bases = {
        alias.asname or alias.name
        for statement in _host_imports(uses.tree, hosts, local, depth)
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        base = next((name_of(base) for base in node.bases if name_of(base) in bases), "")
        if base:
            yield from _missing(source, node, base)


def _missing(source: Source, owner: ast.ClassDef, base: str) -> Iterator[Finding]:
    own = own_attributes(owner) | {*BASE_METHODS, *_BASE_ATTRIBUTES}
    seen: set[str] = set()
    for node in ast.walk(owner):
        if not isinstance(node, ast.Attribute) or node.attr in seen:
            continue
        is_super = isinstance(node.value, ast.Call) and name_of(node.value.func) == "super"
        is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
        is_known = node.attr.startswith("__") or node.attr in own
        if (is_super and node.attr not in BASE_METHODS) or (is_self and not is_known):
            seen.add(node.attr)
            what = f"{ast.unparse(node)} comes from {base}, which is the host's and not in the box"
            yield Finding(source.path, node.lineno, what, f"define {node.attr} in {owner.name}")


def own_attributes(owner: ast.ClassDef) -> set[str]:
    """Return the names that a class defines, and those that its methods set on ``self``."""
    names = {
        node.attr
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    for statement in owner.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        names |= {part.id for part in _targets(statement)}
    return names


def _targets(statement: ast.stmt) -> Iterator[ast.Name]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                yield part
