"""What each name of a module is bound to: by assignments, loops, parameters and patterns.

By scope, and without regard to order: a name that is a plugin somewhere in a function is one
everywhere in it.
"""

from __future__ import annotations

import ast
from collections import defaultdict

from phase12.source import Function, Module, last_name

# A value, and whether the name is one of its elements.
Bound = tuple[ast.expr, bool]

_PUTTING = {"append", "appendleft", "add", "insert", "put", "put_nowait", "setdefault", "extend"}


class Bindings:
    """The names of one module, the attributes of its objects, its functions and their calls."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._bound: dict[tuple[ast.AST, str], list[Bound]] = defaultdict(list)
        self.attributes: dict[str, list[Bound]] = defaultdict(list)
        # What names, and attributes, are said to be, where they have no value yet.
        self.annotations: dict[tuple[ast.AST, str], ast.expr] = {}
        self.fields: dict[str, ast.expr] = {}
        self._elsewhere = self._declared()
        self.parameters: dict[tuple[ast.AST, str], ast.arg] = {}
        self.functions: dict[str, list[Function]] = defaultdict(list)
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)
        self._collect_statements()
        self._collect_loops()
        self._collect_calls()
        self._collect_patterns()
        for function in module.functions():
            self.functions[function.name].append(function)
            self._collect_parameters(function)
        for lambda_ in module.nodes(ast.Lambda):
            self._collect_parameters(lambda_)
        for call in module.nodes(ast.Call):
            self.calls[last_name(call.func)].append(call)

    def values(self, name: ast.Name) -> list[Bound]:
        """Return what a name is bound to in the nearest scope that binds it."""
        scope: ast.AST = name
        while scope is not self._module.tree:
            scope = self._module.function_of(scope)
            if found := self._bound.get((scope, name.id)):
                return found
            if (scope, name.id) in self.parameters:
                return []
        return []

    def annotation(self, name: ast.Name) -> ast.expr | None:
        """Return what a name is said to be, where it is assigned."""
        return self.annotations.get((self._module.function_of(name), name.id))

    def parameter(self, name: ast.Name) -> tuple[ast.AST, ast.arg] | None:
        """Return the function and its parameter that a name stands for."""
        scope: ast.AST = name
        while scope is not self._module.tree:
            scope = self._module.function_of(scope)
            found = self.parameters.get((scope, name.id))
            if found is not None:
                return scope, found
        return None

    def _collect_statements(self) -> None:
        module = self._module
        for assign in module.nodes(ast.Assign):
            for target in assign.targets:
                self._bind(target, assign.value)
        for annotated in module.nodes(ast.AnnAssign):
            self._annotate(annotated)
            if annotated.value is not None:
                self._bind(annotated.target, annotated.value)
        for changed in module.nodes(ast.AugAssign):
            self._bind(changed.target, changed.value)
        for walrus in module.nodes(ast.NamedExpr):
            self._bind(walrus.target, walrus.value)
        for item in module.nodes(ast.withitem):
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr)

    def _annotate(self, annotated: ast.AnnAssign) -> None:
        target = annotated.target
        if isinstance(target, ast.Attribute):
            self.fields[target.attr] = annotated.annotation
        elif isinstance(self._module.parents.get(annotated), ast.ClassDef):
            self.fields[last_name(target)] = annotated.annotation
        elif isinstance(target, ast.Name):
            self.annotations[self._module.function_of(target), target.id] = annotated.annotation

    def _declared(self) -> dict[tuple[ast.AST, str], ast.AST]:
        """Return the scopes of the names that functions declare to be of another."""
        module = self._module
        scopes: dict[tuple[ast.AST, str], ast.AST] = {}
        for one in module.nodes(ast.Global):
            scopes |= {(module.function_of(one), name): module.tree for name in one.names}
        for other in module.nodes(ast.Nonlocal):
            function = module.function_of(other)
            scopes |= {(function, name): module.function_of(function) for name in other.names}
        return scopes

    def _collect_calls(self) -> None:
        """Bind by what puts a value somewhere without an assignment."""
        for call in self._module.nodes(ast.Call):
            name = last_name(call.func)
            if isinstance(call.func, ast.Attribute) and name in _PUTTING and call.args:
                # The container may be a chain of attributes; the last name is the one that counts.
                self._bind(call.func.value, ast.List([call.args[-1]], ast.Load()))
            elif name == "setattr" and len(call.args) == 3:
                key = call.args[1]
                if isinstance(key, ast.Constant):
                    self.attributes[str(key.value)].append((call.args[2], False))

    def _collect_loops(self) -> None:
        for loop in self._module.nodes(ast.For):
            self._bind(loop.target, loop.iter, many=True)
        for awaiting in self._module.nodes(ast.AsyncFor):
            self._bind(awaiting.target, awaiting.iter, many=True)
        for part in self._module.nodes(ast.comprehension):
            self._bind(part.target, part.iter, many=True)

    def _collect_patterns(self) -> None:
        for match in self._module.nodes(ast.Match):
            scope = self._module.function_of(match)
            for pattern in (one for case in match.cases for one in ast.walk(case.pattern)):
                if isinstance(pattern, ast.MatchAs) and pattern.name:
                    self._bound[scope, pattern.name].append((match.subject, False))

    def _collect_parameters(self, function: Function | ast.Lambda) -> None:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        for parameter in [*positional, *arguments.kwonlyargs]:
            self.parameters[function, parameter.arg] = parameter
        first = len(positional) - len(arguments.defaults)
        defaults = [*zip(positional[first:], arguments.defaults, strict=True)]
        keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        defaults += [(one, default) for one, default in keywords if default is not None]
        for parameter, default in defaults:
            self._bound[function, parameter.arg].append((default, False))

    def _bind(self, target: ast.expr, value: ast.expr, *, many: bool = False) -> None:
        match target:
            case ast.Name():
                scope = self._module.function_of(target)
                scope = self._elsewhere.get((scope, target.id), scope)
                self._bound[scope, target.id].append((value, many))
            case ast.Attribute():
                self.attributes[target.attr].append((value, many))
            case ast.Subscript():
                # A container that is given a plugin is one of plugins.
                self._bind(target.value, ast.List([value], ast.Load()), many=many)
            case ast.Starred():
                self._bind(target.value, value, many=many)
            case ast.Tuple() | ast.List():
                self._unpack(target, value, many=many)

    def _unpack(self, target: ast.Tuple | ast.List, value: ast.expr, *, many: bool) -> None:
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            for one, part in zip(target.elts, value.elts, strict=True):
                self._bind(one, part, many=many)
        elif many and isinstance(value, ast.Call) and last_name(value.func) == "zip":
            for one, part in zip(target.elts, value.args, strict=False):
                self._bind(one, part, many=True)
        elif target.elts and (many or not isinstance(value, ast.Call)):
            # The last one of name and plugin, or of number and plugin, is the plugin.
            self._bind(target.elts[-1], value, many=True)
