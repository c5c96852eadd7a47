"""Where the values of a module come from: what may be a plugin, and what is of some class.

Followed through assignments, parameters, loops, comprehensions, the module's own functions and
attributes; a name alone can say it as well. Asked about single expressions; answers are kept.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence

from phase12.naming import OBJECT, is_annotated, is_plugin_name
from phase12.source import FUNCTIONS, Function, Module, last_name, words

_PARTS = OBJECT | {"__class__", "__wrapped__", "__self__"}
_SAME = {"cast", "copy", "deepcopy", "type", "vars", "iter", "next", "list", "tuple", "set", "dict",
         "sorted", "reversed", "filter", "chain", "enumerate", "zip", "ref", "proxy"}  # fmt: skip
_TAKING = {"get", "plugin", "get_plugin", "instance", "lookup", "find", "resolve", "pop",
           "popleft", "popitem", "setdefault", "values", "items", "__getitem__"}  # fmt: skip
# What is a plugin when one of its parts is; the fields that hold those.
_WHOLES = (
    ast.Await, ast.NamedExpr, ast.Starred, ast.IfExp, ast.BoolOp, ast.List, ast.Tuple, ast.Set,
    ast.Dict, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp,
)  # fmt: skip
_VALUES = {"value", "values", "elt", "elts", "body", "orelse"}
_KEEPING = {"append", "add", "insert", "appendleft", "setdefault", "put"}
_MAPPING = {"map", "starmap", "filter", "sorted", "min", "max"}


class Origins:
    """The bindings of one module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._names: dict[tuple[ast.AST, str], list[ast.expr]] = defaultdict(list)
        self._attributes: dict[str, list[ast.expr]] = defaultdict(list)
        self._types: dict[tuple[ast.AST | None, str], list[ast.expr]] = defaultdict(list)
        self._known: dict[ast.AST, bool] = {}
        self._functions = {one.name: one for one in module.functions()}
        self._classes = {one.name: one for one in module.nodes(ast.ClassDef)}
        self.imported = {
            (alias.asname or alias.name).partition(".")[0] for alias in module.nodes(ast.alias)
        }
        self._vague = {
            one.name
            for one in module.nodes(ast.ClassDef)
            if "Protocol" in {last_name(base) for base in one.bases}
        }
        self._real = {one.asname: one.name for one in module.nodes(ast.alias) if one.asname}
        self._bind()

    # Asking

    def called(self, node: ast.AST) -> str:
        """Return a function's or class's last name, behind ``import x as y``."""
        return self._real.get(last_name(node), last_name(node))

    def is_plugin(self, node: ast.AST | None) -> bool:
        """Tell whether an expression may be a plugin, or hold some."""
        if node is None:
            return False
        if node not in self._known:
            self._known[node] = False  # while it is looked at: going round in circles is no proof
            self._known[node] = self._may_be_plugin(node)
        return self._known[node]

    def _may_be_plugin(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(id=name):
                is_own = name in self.imported or name in self._functions
                is_said = (is_plugin_name(name) and not is_own) or is_annotated(
                    self._types_of(node)
                )
                return is_said or any(map(self.is_plugin, self.sources(node)))
            case ast.Attribute(attr=name, value=value):
                return (
                    is_plugin_name(name)
                    or is_annotated(self._types_of(node))
                    or any(map(self.is_plugin, self.sources(node)))
                    or (name in _PARTS and self.is_plugin(value))
                )
            case ast.Call():
                return self._gives_plugin(node)
            case ast.Subscript(value=value):
                return self.is_plugin(value) or self._is_table(value)
        parts = [getattr(node, name) for name in _VALUES & set(node._fields)]
        return isinstance(node, _WHOLES) and any(
            any(map(self.is_plugin, part if isinstance(part, list) else [part])) for part in parts
        )

    def _is_table(self, node: ast.expr) -> bool:
        name = last_name(node)
        return words(name)[-1:] == ["tools"] and name not in self.imported

    def _gives_plugin(self, call: ast.Call) -> bool:
        name = last_name(call.func)
        if isinstance(call.func, ast.Attribute) and name in _TAKING:
            return self.is_plugin(call.func.value) or self._is_table(call.func.value)
        if name in _SAME:
            return any(map(self.is_plugin, call.args))
        function = self._functions.get(name)
        if function is None:
            is_looked_up = (
                name in self.imported
                and name.islower()
                and any(words(last_name(one))[-1:] == ["registry"] for one in call.args)
            )
            is_said = isinstance(call.func, ast.Name) and words(name)[-1:] == ["plugin"]
            return is_said or is_looked_up
        leaving = ast.Return | ast.Yield | ast.YieldFrom
        returned = [one for one in ast.walk(function) if isinstance(one, leaving)]
        said = [function.returns] if function.returns else []
        return is_annotated(said) or any(self.is_plugin(one.value) for one in returned)

    def is_of(self, node: ast.expr, name: str) -> bool:
        """Tell whether an expression is an object of class ``name``, by name, type or making."""
        if words(last_name(node))[-len(words(name)) :] == words(name):
            return True
        said = self._types_of(node)
        if any(last_name(one) == name for whole in said for one in ast.walk(whole)):
            return True
        made = [one for one in self.sources(node) if isinstance(one, ast.Call)]
        return any(last_name(one.func) == name for one in made)

    def is_known(self, node: ast.expr) -> bool:
        """Tell whether it is known what an expression is: imported, typed, or made here."""
        if isinstance(node, ast.Name) and node.id in {*self.imported, "self", "cls", "super"}:
            return True
        if isinstance(node, ast.Call):
            return last_name(node.func)[:1].isupper() or last_name(node.func) == "super"
        said = {last_name(one) for one in self._types_of(node)} - {"Any", "object", *self._vague}
        return bool(said) or any(map(self.is_known, self.sources(node)))

    def is_bound(self, node: ast.Name) -> bool:
        """Tell whether something is known of a name: a type, or what it is given."""
        return bool(self._types_of(node) or self.sources(node))

    def within(self, node: ast.AST, depth: int = 4) -> Iterator[ast.AST]:
        """Yield everything that an expression is made of, through the names in it."""
        for part in ast.walk(node):
            yield part
            if depth and isinstance(part, ast.Name | ast.Attribute):
                for origin in self.sources(part):
                    yield from self.within(origin, depth - 1)

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

    def _types_of(self, node: ast.expr) -> list[ast.expr]:
        if isinstance(node, ast.Attribute):
            return self._types.get((None, node.attr), []) + [
                said
                for one in self.sources(node)
                if isinstance(one, ast.Name)
                for said in self._types_of(one)
            ]
        if isinstance(node, ast.Name):
            for scope in self._scopes(node):
                if (scope, node.id) in self._types:
                    return self._types[scope, node.id]
        return []

    def _scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        yield from (one for one in self._module.above(node) if isinstance(one, FUNCTIONS))
        yield self._module.tree

    # Binding

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
            case ast.Subscript(value=ast.Name() as whole):
                self._fill(whole, value)
            case ast.Subscript(value=whole) | ast.Starred(value=whole):
                self._give(whole, value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                given = value.elts if isinstance(value, ast.Tuple) else [value] * len(targets)
                for one, what in zip(targets, given, strict=False):
                    self._give(one, what)

    def _fill(self, whole: ast.Name, value: ast.expr) -> None:
        """Note what is put into something, where that is bound; by now all plain names are."""
        inner = next(self._scopes(whole))
        bound = (one for one in self._scopes(whole) if (one, whole.id) in self._names)
        self._names[next(bound, inner), whole.id].append(value)

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
            whole = call.func.value
            (self._fill if isinstance(whole, ast.Name) else self._give)(whole, call.args[-1])  # type: ignore[operator]
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
