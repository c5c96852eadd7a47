"""Where the values of a module come from: what may be a plugin, and what is of some class.

Followed through assignments, parameters, loops, comprehensions, the module's own functions and
attributes; a name alone can say it as well. Asked about single expressions; answers are kept.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.bindings import Bindings
from phase12.naming import OBJECT, is_annotated, is_plugin_name
from phase12.source import Module, last_name, words

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


class Origins(Bindings):
    """What the values of one module may be."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self._known: dict[ast.AST, bool] = {}
        self.imported = {
            (alias.asname or alias.name).partition(".")[0] for alias in module.nodes(ast.alias)
        }
        self._vague = {
            one.name
            for one in module.nodes(ast.ClassDef)
            if "Protocol" in {last_name(base) for base in one.bases}
        }
        self._real = {one.asname: one.name for one in module.nodes(ast.alias) if one.asname}

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
                is_said = (is_plugin_name(name) and not is_own) or is_annotated(self.types_of(node))
                return is_said or any(map(self.is_plugin, self.sources(node)))
            case ast.Attribute(attr=name, value=value):
                return (
                    is_plugin_name(name)
                    or is_annotated(self.types_of(node))
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
        said = self.types_of(node)
        if any(last_name(one) == name for whole in said for one in ast.walk(whole)):
            return True
        made = [one for one in self.sources(node) if isinstance(one, ast.Call)]
        return any(words(last_name(one.func))[-len(words(name)) :] == words(name) for one in made)

    def is_own(self, node: ast.expr, method: str, depth: int = 4) -> bool:
        """Tell whether a value is of a class of this module which derives from nothing and has it.

        A type alone does not say so: nothing else may be put there in this module.
        """
        if isinstance(node, ast.Call):
            return self._has(last_name(node.func), method)
        if isinstance(node, ast.Name) and node.id == "self":
            owners = [one for one in self._module.above(node) if isinstance(one, ast.ClassDef)]
            return bool(owners) and self._has(owners[0].name, method)
        said = [
            last_name(one)
            for whole in self.types_of(node)
            for one in ast.walk(whole)
            if isinstance(one, ast.Name | ast.Attribute)
        ]
        given = self.sources(node)
        return (
            depth > 0
            and bool(said or given)
            and all(self._has(name, method) for name in said)
            and all(self.is_own(one, method, depth - 1) for one in given)
        )

    def _has(self, name: str, method: str) -> bool:
        owner = self._classes.get(name)
        if owner is None or owner.bases:
            return False
        return any(getattr(one, "name", "") == method for one in owner.body)

    def is_known(self, node: ast.expr) -> bool:
        """Tell whether it is known what an expression is: imported, typed, or made here."""
        if isinstance(node, ast.Name) and node.id in {*self.imported, "self", "cls", "super"}:
            return True
        if isinstance(node, ast.Call):
            return last_name(node.func)[:1].isupper() or last_name(node.func) == "super"
        said = {last_name(one) for one in self.types_of(node)} - {"Any", "object", *self._vague}
        return bool(said) or any(map(self.is_known, self.sources(node)))

    def is_bound(self, node: ast.expr) -> bool:
        """Tell whether something is known of a name: a type, or what it is given."""
        return bool(self.types_of(node) or self.sources(node))

    def within(self, node: ast.AST, depth: int = 4) -> Iterator[ast.AST]:
        """Yield everything that an expression is made of, through the names in it."""
        for part in ast.walk(node):
            yield part
            if depth and isinstance(part, ast.Name | ast.Attribute):
                for origin in self.sources(part):
                    yield from self.within(origin, depth - 1)
