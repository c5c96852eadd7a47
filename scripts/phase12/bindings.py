"""What each name and each attribute of a module is given anywhere in it, and how it is typed."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence

from phase12.source import FUNCTIONS, Function, Module, last_name

_KEEPING = {"append", "add", "insert", "appendleft", "setdefault", "put"}
_MAPPING = {"map", "starmap", "filter", "sorted", "min", "max"}


class Bindings:
    """The bindings of one module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._names: dict[tuple[ast.AST, str], list[ast.expr]] = defaultdict(list)
        self._attributes: dict[str, list[ast.expr]] = defaultdict(list)
        self._types: dict[tuple[ast.AST | None, str], list[ast.expr]] = defaultdict(list)
        self._functions = {one.name: one for one in module.functions()}
        self._classes = {one.name: one for one in module.nodes(ast.ClassDef)}
        self._bind()

    def sources(self, node: ast.AST) -> list[ast.expr]:
        """Return what a name or an attribute is given anywhere in the module."""
        if isinstance(node, ast.Attribute):
            return self._attributes.get(node.attr, [])
        if not isinstance(node, ast.Name):
            return []
        for scope in self._scopes(node):
            if (scope, node.id) in self._names:
                return self._names[scope, node.id]
        return []

    def types_of(self, node: ast.expr) -> list[ast.expr]:
        """Return the annotations of a name or an attribute."""
        if isinstance(node, ast.Attribute):
            return self._types.get((None, node.attr), []) + [
                said
                for one in self.sources(node)
                if isinstance(one, ast.Name)
                for said in self.types_of(one)
            ]
        if isinstance(node, ast.Name):
            for scope in self._scopes(node):
                if (scope, node.id) in self._types:
                    return self._types[scope, node.id]
        return []

    def _scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        yield from (one for one in self._module.above(node) if isinstance(one, FUNCTIONS))
        yield self._module.tree

    def _bind(self) -> None:
        module = self._module
        for plain in module.nodes(ast.Assign):
            for target in plain.targets:
                self._give(target, plain.value)
        for typed in module.nodes(ast.AnnAssign):
            if typed.value is not None:
                self._give(typed.target, typed.value)
            in_class = isinstance(module.parents[typed], ast.ClassDef)
            is_field = in_class or isinstance(typed.target, ast.Attribute)
            scope = None if is_field else next(self._scopes(typed.target))
            self._types[scope, last_name(typed.target)].append(typed.annotation)
        for walrus in module.nodes(ast.NamedExpr):
            self._give(walrus.target, walrus.value)
        loops: list[ast.For | ast.AsyncFor | ast.comprehension] = [
            *module.nodes(ast.For), *module.nodes(ast.AsyncFor), *module.nodes(ast.comprehension)
        ]  # fmt: skip
        for loop in loops:
            self._give(loop.target, loop.iter)
        for item in [one for one in module.nodes(ast.withitem) if one.optional_vars]:
            self._give(item.optional_vars, item.context_expr)
        for function in (*module.functions(), *module.nodes(ast.Lambda)):
            self._parameters(function)
        for call in module.calls():
            self._call(call)

    def _give(self, target: ast.expr | None, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                scope = next(self._scopes(target))
                if any(name in one.names for one in self._module.nodes(ast.Global)):
                    scope = self._module.tree
                self._names[scope, name].append(value)
            case ast.Attribute(attr=name):
                self._attributes[name].append(value)
            case ast.Subscript(value=whole):
                self._fill(whole, value)
            case ast.Starred(value=whole):
                self._give(whole, value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                given = value.elts if isinstance(value, ast.Tuple) else [value] * len(targets)
                for one, what in zip(targets, given, strict=False):
                    self._give(one, what)

    def _fill(self, whole: ast.expr, value: ast.expr) -> None:
        """Note what is put into something, where that is bound; by now all plain names are."""
        if not isinstance(whole, ast.Name):
            self._give(whole, value)
            return
        scopes = list(self._scopes(whole))
        bound = (one for one in scopes if (one, whole.id) in self._names)
        self._names[next(bound, scopes[0]), whole.id].append(value)

    def _parameters(self, function: Function | ast.Lambda) -> None:
        parameters = function.args
        positional = [*parameters.posonlyargs, *parameters.args]
        for one in (*positional, *parameters.kwonlyargs):
            if one.annotation is not None:
                self._types[function, one.arg].append(one.annotation)
        for one, value in zip(reversed(positional), reversed(parameters.defaults), strict=False):
            self._names[function, one.arg].append(value)

    def _call(self, call: ast.Call) -> None:
        name = last_name(call.func)
        if name == "setattr" and len(call.args) == 3 and isinstance(call.args[1], ast.Constant):
            self._attributes[str(call.args[1].value)].append(call.args[2])
        if isinstance(call.func, ast.Attribute) and name in _KEEPING and call.args:
            self._fill(call.func.value, call.args[-1])
        if isinstance(call.func, ast.Lambda):
            self._pass(call.func, call.args)
        elif name in self._functions:
            self._pass(self._functions[name], call.args, call.keywords)
        elif name in self._classes:
            self._make(self._classes[name], call)
        elif name in _MAPPING and len(call.args) > 1:
            first = self._functions.get(last_name(call.args[0]), call.args[0])
            if isinstance(first, FUNCTIONS):
                self._pass(first, call.args[1:])

    def _make(self, owner: ast.ClassDef, call: ast.Call) -> None:
        """Note what an object of a class of the module is made with: its fields, its parameters."""
        fields = [one.target for one in owner.body if isinstance(one, ast.AnnAssign)]
        for field, value in zip(map(last_name, fields), call.args, strict=False):
            self._attributes[field].append(value)
        for one in call.keywords:
            self._attributes[one.arg or ""].append(one.value)
        for function in [one for one in owner.body if isinstance(one, ast.FunctionDef)]:
            if function.name == "__init__":
                self._pass(function, call.args, call.keywords)

    def _pass(
        self,
        function: Function | ast.Lambda,
        given: list[ast.expr],
        named: Sequence[ast.keyword] = (),
    ) -> None:
        for one in named:
            self._names[function, one.arg or ""].append(one.value)
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        for name, value in zip([n for n in names if n not in {"self", "cls"}], given, strict=False):
            self._names[function, name].append(value)
