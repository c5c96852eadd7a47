"""Which expressions of a module may be a plugin, or a collection of plugins.

Decided by where a value comes from (a registry, a loader, an entry point, an annotation, a loop
over plugins) and by what it is called, and followed through assignments, parameters, comprehensions
and the module's own functions. Asked about single expressions; each answer is kept.
"""

from __future__ import annotations

import ast
import re
from enum import IntEnum
from functools import cache, cached_property

from phase12.bindings import Bindings
from phase12.source import Function, Module, last_name


class Kind(IntEnum):
    """What an expression may be; the greater word wins where two ways meet."""

    NOTHING = 0
    MANY = 1  # plugins, by name or in a row
    NAMES = 2  # a plugin's attributes as a mapping
    PLUGIN = 3


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_OBJECT = {
    "instance", "object", "obj", "impl", "cls", "class", "module", "callable", "function", "func",
    "fn", "handle",
}  # fmt: skip
_PARTS = _OBJECT | {"__class__", "__wrapped__", "__self__"}
_LOADERS = {"import_module", "__import__", "module_from_spec", "load_module", "exec_module"}
_RUNPY = {"run_path", "run_module"}
_SAME = {"cast", "copy", "deepcopy", "type", "iter", "list", "tuple", "set", "frozenset", "sorted",
         "reversed", "dict", "filter", "chain", "enter_context", "values", "items", "enumerate",
         "proxy", "ref", "deque", "OrderedDict", "islice", "cycle", "wraps"}  # fmt: skip
_TAKING = {"get", "plugin", "instance", "lookup", "find", "resolve", "pop", "popleft", "popitem",
           "setdefault", "next", "__getitem__", "choice"}  # fmt: skip


def words(identifier: str) -> list[str]:
    """Return the words of a name, in lower case."""
    return [word.lower() for word in _WORD.findall(identifier)]


@cache
def named(identifier: str) -> Kind:
    """Return what a name alone says."""
    parts = words(identifier)
    last = parts[-1] if parts else ""
    if last == "plugin" or parts in (["instance"], ["entry", "point"]):
        return Kind.PLUGIN
    if "plugin" in parts and last in _OBJECT:
        return Kind.PLUGIN
    if last in {"plugins", "registry"} or parts == ["entry", "points"]:
        return Kind.MANY
    return Kind.NOTHING


def element(kind: Kind) -> Kind:
    """Return what is in a collection."""
    return Kind.PLUGIN if kind is Kind.MANY else Kind.NOTHING


class Taint:
    """The plugins of one module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[ast.AST, Kind] = {}
        self._open: set[object] = set()

    @cached_property
    def _bindings(self) -> Bindings:
        """Made only for a module of which something is asked: most have nothing to ask."""
        return Bindings(self._module)

    def kind(self, node: ast.expr) -> Kind:
        """Return what an expression may be."""
        if node in self._known:
            return self._known[node]
        if node in self._open:
            return Kind.NOTHING
        self._open.add(node)
        try:
            found = self._kind(node)
        finally:
            self._open.discard(node)
        if not self._open:  # what was found while another question was open may be too little
            self._known[node] = found
        return found

    def text(self, node: ast.expr | None) -> str | None:
        """Return the string that an expression is known to be."""
        match node:
            case ast.Constant(value=str(value)):
                return value
            case ast.BinOp(op=ast.Add()):
                left, right = self.text(node.left), self.text(node.right)
                return None if left is None or right is None else left + right
            case ast.JoinedStr():
                parts = [
                    self.text(one.value if isinstance(one, ast.FormattedValue) else one)
                    for one in node.values
                ]
                return None if None in parts else "".join(str(part) for part in parts)
            case ast.Name():
                return self._named_text(node)
        return None

    def _named_text(self, name: ast.Name) -> str | None:
        question = ("text", name.id)
        if question in self._open:  # text = text + "more"
            return None
        self._open.add(question)
        try:
            known = {self.text(value) for value, _ in self._bindings.values(name)}
        finally:
            self._open.discard(question)
        return known.pop() if len(known) == 1 else None

    def is_flow(self, name: ast.Name) -> bool:
        """Tell whether a name holds a plugin by what was assigned to it, whatever it is called."""
        return any(
            (element(self.kind(value)) if many else self.kind(value)) is Kind.PLUGIN
            for value, many in self._bindings.values(name)
        )

    # What an expression is

    def _kind(self, node: ast.expr) -> Kind:  # noqa: C901 - one case a kind of expression
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp():
                return self._most(node.values)
            case ast.IfExp():
                return self._most([node.body, node.orelse])
            case ast.NamedExpr() | ast.Await() | ast.Starred():
                return self.kind(node.value)
            case ast.BinOp(op=ast.BitOr() | ast.Add()):
                return self._most([node.left, node.right])
            case ast.Tuple() | ast.List() | ast.Set():
                return Kind.MANY if self._most(node.elts) else Kind.NOTHING
            case ast.Dict():
                return Kind.MANY if self._most(node.values) else Kind.NOTHING
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return Kind.MANY if self.kind(node.elt) else Kind.NOTHING
            case ast.DictComp():
                return Kind.MANY if self.kind(node.value) else Kind.NOTHING
        return Kind.NOTHING

    def _most(self, nodes: list[ast.expr]) -> Kind:
        return max((self.kind(node) for node in nodes), default=Kind.NOTHING)

    def _name(self, node: ast.Name) -> Kind:
        if by_name := named(node.id):
            return by_name
        values = self._bindings.values(node)
        found = max(
            (element(self.kind(value)) if many else self.kind(value) for value, many in values),
            default=Kind.NOTHING,
        )
        said = self._annotated(self._bindings.annotation(node))
        return max(found, said, self._parameter(node))

    def _parameter(self, node: ast.Name) -> Kind:
        found = self._bindings.parameter(node)
        if found is None:
            return Kind.NOTHING
        function, parameter = found
        return max(self._annotated(parameter.annotation), self._passed(function, parameter))

    def _annotated(self, annotation: ast.expr | None) -> Kind:
        match annotation:
            case None:
                return Kind.NOTHING
            case ast.Constant(value=str(text)):
                return named(text.rpartition(".")[2]) if text.isidentifier() else Kind.NOTHING
            case ast.Name() | ast.Attribute():
                return (
                    Kind.PLUGIN if words(last_name(annotation))[-1:] == ["plugin"] else Kind.NOTHING
                )
            case ast.BinOp():
                return max(self._annotated(annotation.left), self._annotated(annotation.right))
            case ast.Subscript():
                inner = annotation.slice
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                found = max((self._annotated(part) for part in parts), default=Kind.NOTHING)
                outer = last_name(annotation.value)
                if outer == "Callable":
                    return Kind.NOTHING
                return (
                    found
                    if outer in {"Optional", "type", "Annotated", "Union"}
                    else (Kind.MANY if found else Kind.NOTHING)
                )
        return Kind.NOTHING

    def _passed(self, function: ast.AST, parameter: ast.arg) -> Kind:
        """Return what a function of this module is given for a parameter, wherever it is called."""
        if (function, parameter) in self._open:
            return Kind.NOTHING
        self._open.add((function, parameter))
        try:
            if isinstance(function, ast.Lambda):
                return self._passed_to_lambda(function, parameter)
            assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            return self._passed_by_name(function, parameter)
        finally:
            self._open.discard((function, parameter))

    def _passed_to_lambda(self, function: ast.Lambda, parameter: ast.arg) -> Kind:
        call = self._module.parents.get(function)
        if not isinstance(call, ast.Call):
            return Kind.NOTHING
        if call.func is function:
            return self._argument(call, function.args, parameter)
        # What a lambda is handed over with is what it is given: by map, by submit.
        others = [one for one in call.args if one is not function]
        return Kind.PLUGIN if self._most(others) else Kind.NOTHING

    def _passed_by_name(self, function: Function, parameter: ast.arg) -> Kind:
        is_method = isinstance(self._module.parents.get(function), ast.ClassDef)
        found = Kind.NOTHING
        for call in self._bindings.calls.get(function.name, ()):
            is_own = isinstance(call.func, ast.Name) != is_method
            if is_own:
                found = max(found, self._argument(call, function.args, parameter, bound=is_method))
        if not is_method:
            for name in ("map", "submit", "partial", "filter"):
                for call in self._bindings.calls.get(name, ()):
                    if call.args and last_name(call.args[0]) == function.name:
                        found = max(found, Kind.PLUGIN if self._most(call.args[1:]) else found)
        return found

    def _argument(
        self, call: ast.Call, arguments: ast.arguments, parameter: ast.arg, *, bound: bool = False
    ) -> Kind:
        for keyword in call.keywords:
            if keyword.arg == parameter.arg:
                return self.kind(keyword.value)
        positional = [*arguments.posonlyargs, *arguments.args][1 if bound else 0 :]
        for own, given in zip(positional, call.args, strict=False):
            if own is parameter:
                return self.kind(given)
        return Kind.NOTHING

    def _attribute(self, node: ast.Attribute) -> Kind:
        of = self.kind(node.value)
        if node.attr == "__dict__" and of is Kind.PLUGIN:
            return Kind.NAMES
        if of is Kind.PLUGIN and node.attr in _PARTS:
            return Kind.PLUGIN
        if of is Kind.MANY and node.attr.startswith("_"):
            return Kind.MANY
        if by_name := named(node.attr):
            return by_name
        found = max(
            (
                element(self.kind(value)) if many else self.kind(value)
                for value, many in self._bindings.attributes.get(node.attr, ())
            ),
            default=Kind.NOTHING,
        )
        return max(found, self._annotated(self._bindings.fields.get(node.attr)))

    def _subscript(self, node: ast.Subscript) -> Kind:
        of = self.kind(node.value)
        if isinstance(node.slice, ast.Slice):
            return of
        if of is Kind.NAMES:
            key = self.text(node.slice)
            return named(key) if key else Kind.NOTHING
        return element(of)

    def _call(self, node: ast.Call) -> Kind:  # noqa: C901 - one case a line
        name = last_name(node.func)
        first = self.kind(node.args[0]) if node.args else Kind.NOTHING
        if name in _LOADERS:
            return Kind.PLUGIN
        if name in _RUNPY:
            return Kind.NAMES
        if name == "vars":
            return Kind.NAMES if first is Kind.PLUGIN else Kind.NOTHING
        if name == "getattr" and len(node.args) > 1:
            return self._gotten(node, first)
        if name == "next":
            return element(first)
        if name == "__new__" and first is Kind.PLUGIN:
            return Kind.PLUGIN
        if isinstance(node.func, ast.Attribute):
            found = self._method(node.func, name)
            if found:
                return found
        if name in _SAME:
            return self._most(node.args)
        if by_name := named(name):
            return by_name
        if isinstance(node.func, ast.Name) and self.is_flow(node.func):
            return Kind.PLUGIN
        functions = self._bindings.functions.get(name, ())
        return max((self._returned(one) for one in functions), default=Kind.NOTHING)

    def _gotten(self, node: ast.Call, of: Kind) -> Kind:
        key = self.text(node.args[1])
        if key and (by_name := named(key)):
            return by_name
        return Kind.PLUGIN if of is Kind.PLUGIN and key in _PARTS else Kind.NOTHING

    def _method(self, function: ast.Attribute, name: str) -> Kind:
        of = self.kind(function.value)
        if of is Kind.MANY and name in _TAKING:
            return Kind.PLUGIN
        if of is Kind.PLUGIN and name in {"load", "resolve"}:
            return Kind.PLUGIN
        return of if of is Kind.MANY and name in {"values", "items", "copy"} else Kind.NOTHING

    def _returned(self, function: Function) -> Kind:
        if function in self._open:
            return Kind.NOTHING
        self._open.add(function)
        try:
            values = [
                node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Return | ast.Yield) and node.value is not None
            ]
            return max(self._most(values), self._annotated(function.returns))
        finally:
            self._open.discard(function)
