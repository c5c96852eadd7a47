"""Which expressions of a module may be a plugin, or a collection of plugins.

Decided by where a value comes from (a registry, a loader, an entry point, an annotation, a loop
over plugins) and by what it is called, and followed through assignments, parameters, comprehensions
and the module's own functions. Asked about single expressions; each answer is kept.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from enum import IntEnum
from functools import cache

from phase12.source import FUNCTIONS, Function, Module, last_name


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
         "proxy", "ref", "wraps"}  # fmt: skip
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
    if last == "plugin" or parts == ["instance"] or parts == ["entry", "point"]:
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
        # By scope and name, and by attribute of self: the values, and whether each is one of many.
        self._bound: dict[tuple[ast.AST, str], list[tuple[ast.expr, bool]]] = defaultdict(list)
        self._attributes: dict[str, list[tuple[ast.expr, bool]]] = defaultdict(list)
        self._parameters: dict[tuple[ast.AST, str], ast.arg] = {}
        self._functions: dict[str, list[Function]] = defaultdict(list)
        self._calls: dict[str, list[ast.Call]] = defaultdict(list)
        self._is_collected = False

    def kind(self, node: ast.expr) -> Kind:
        """Return what an expression may be."""
        self._collect()
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
                self._collect()
                values = [value for value, _ in self._values(node)]
                known = {self.text(value) for value in values if value is not node}
                return known.pop() if len(known) == 1 else None
        return None

    def is_flow(self, name: ast.Name) -> bool:
        """Tell whether a name holds a plugin by what was assigned to it, whatever it is called."""
        self._collect()
        return any(
            (element(self.kind(value)) if many else self.kind(value)) is Kind.PLUGIN
            for value, many in self._values(name)
        )

    # What is bound where

    def _collect(self) -> None:
        """Once, and only for a module of which something is asked: most have nothing to ask."""
        if self._is_collected:
            return
        self._is_collected = True
        module = self._module
        for assign in module.nodes(ast.Assign):
            for target in assign.targets:
                self._bind(target, assign.value)
        for one in module.nodes(ast.AnnAssign, ast.AugAssign):
            if one.value is not None:
                self._bind(one.target, one.value)
        for walrus in module.nodes(ast.NamedExpr):
            self._bind(walrus.target, walrus.value)
        for loop in module.nodes(ast.For, ast.AsyncFor, ast.comprehension):
            self._bind(loop.target, loop.iter, many=True)
        for item in module.nodes(ast.withitem):
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr)
        for function in module.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
            self._functions[function.name].append(function)
            self._collect_parameters(function)
        for lambda_ in module.nodes(ast.Lambda):
            self._collect_parameters(lambda_)
        for call in module.nodes(ast.Call):
            self._calls[last_name(call.func)].append(call)
        for match in module.nodes(ast.Match):
            for case in match.cases:
                for pattern in ast.walk(case.pattern):
                    if isinstance(pattern, ast.MatchAs) and pattern.name:
                        scope = module.function_of(match)
                        self._bound[scope, pattern.name].append((match.subject, False))

    def _collect_parameters(self, function: Function | ast.Lambda) -> None:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        for parameter in [*positional, *arguments.kwonlyargs]:
            self._parameters[function, parameter.arg] = parameter
        defaults = arguments.defaults
        for parameter, default in zip(
            positional[len(positional) - len(defaults) :], defaults, strict=True
        ):
            self._bound[function, parameter.arg].append((default, False))
        for parameter, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if keyword is not None:
                self._bound[function, parameter.arg].append((keyword, False))

    def _bind(self, target: ast.expr, value: ast.expr, *, many: bool = False) -> None:
        match target:
            case ast.Name():
                scope = self._module.function_of(target)
                self._bound[scope, target.id].append((value, many))
            case ast.Attribute():
                self._attributes[target.attr].append((value, many))
            case ast.Subscript():
                # plugins_by_id[x] = plugin makes its container one of plugins.
                self._bind(target.value, ast.List([value], ast.Load()), many=many)
            case ast.Starred():
                self._bind(target.value, value, many=many)
            case ast.Tuple() | ast.List():
                if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                    for one, part in zip(target.elts, value.elts, strict=True):
                        self._bind(one, part, many=many)
                elif many or not isinstance(value, ast.Call):
                    # for name, plugin in plugins.items(): the last one is the value.
                    self._bind(target.elts[-1], value, many=True) if target.elts else None

    def _values(self, name: ast.Name) -> list[tuple[ast.expr, bool]]:
        scope: ast.AST = name
        while scope is not self._module.tree:
            scope = self._module.function_of(scope)
            if found := self._bound.get((scope, name.id)):
                return found
            if (scope, name.id) in self._parameters:
                return []
        return []

    # What an expression is

    def _kind(self, node: ast.expr) -> Kind:
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
                values = [value for value in node.values if value is not None]
                return Kind.MANY if self._most(values) else Kind.NOTHING
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
        values = self._values(node)
        found = max(
            (element(self.kind(value)) if many else self.kind(value) for value, many in values),
            default=Kind.NOTHING,
        )
        return max(found, self._parameter(node))

    def _parameter(self, node: ast.Name) -> Kind:
        scope: ast.AST = node
        while scope is not self._module.tree:
            scope = self._module.function_of(scope)
            parameter = self._parameters.get((scope, node.id))
            if parameter is not None:
                return max(self._annotated(parameter.annotation), self._passed(scope, parameter))
        return Kind.NOTHING

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
        # map(lambda p: ..., plugins), pool.submit(lambda p: ..., plugin)
        others = [one for one in call.args if one is not function]
        return Kind.PLUGIN if self._most(others) else Kind.NOTHING

    def _passed_by_name(self, function: Function, parameter: ast.arg) -> Kind:
        is_method = isinstance(self._module.parents.get(function), ast.ClassDef)
        found = Kind.NOTHING
        for call in self._calls.get(function.name, ()):
            is_own = isinstance(call.func, ast.Name) != is_method
            if is_own:
                found = max(found, self._argument(call, function.args, parameter, bound=is_method))
        if not is_method:
            for name in ("map", "submit", "partial", "filter"):
                for call in self._calls.get(name, ()):
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
        return max(
            (
                element(self.kind(value)) if many else self.kind(value)
                for value, many in self._attributes.get(node.attr, ())
            ),
            default=Kind.NOTHING,
        )

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
        return max(
            (self._returned(one) for one in self._functions.get(name, ())), default=Kind.NOTHING
        )

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
            return self._most(values)
        finally:
            self._open.discard(function)


__all__ = ["FUNCTIONS", "Kind", "Taint", "named", "words"]
