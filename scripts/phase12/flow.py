"""Whether a function does something on every way through it that ends in a return.

Conservative: a loop may run no times, a handler may begin before anything was done. What is
written inside a nested function, a lambda or a branch of an expression does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from phase12.source import last_name

Marker = Callable[[ast.Call], bool]

_LAZY = (
    ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.GeneratorExp,
    ast.ListComp, ast.SetComp, ast.DictComp,
)  # fmt: skip


def certain_calls(node: ast.AST | None) -> Iterator[ast.Call]:
    """Yield the calls that are made for certain when a node is evaluated."""
    if node is None or isinstance(node, _LAZY):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in _certain_children(node):
        yield from certain_calls(child)


def _certain_children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield node.values[0]
    elif isinstance(node, ast.IfExp):
        yield node.test
    else:
        yield from ast.iter_child_nodes(node)


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
        ):
            yield from own_nodes(child)


class Way:
    """Follows the statements of one function, looking for a certain call."""

    def __init__(self, marker: Marker) -> None:
        self._marker = marker
        self.left_without: list[ast.stmt] = []

    def through(self, body: Sequence[ast.stmt], *, done: bool = False) -> bool | None:
        """Return whether it is done at the end of ``body``; ``None`` if that is not reached."""
        state: bool | None = done
        for statement in body:
            state = self._after(statement, done=bool(state))
            if state is None:
                return None
        return state

    def _does(self, node: ast.AST | None) -> bool:
        return any(self._marker(call) for call in certain_calls(node))

    def _after(self, statement: ast.stmt, *, done: bool) -> bool | None:
        match statement:
            case ast.Return():
                if not (done or self._does(statement.value)):
                    self.left_without.append(statement)
                return None
            case ast.Raise() | ast.Continue() | ast.Break():
                return None
            case ast.If():
                done = done or self._does(statement.test)
                return _both(
                    self.through(statement.body, done=done),
                    self.through(statement.orelse, done=done),
                )
            case ast.Match():
                return self._after_match(statement, done=done or self._does(statement.subject))
            case ast.With() | ast.AsyncWith():
                done = done or any(self._does(item.context_expr) for item in statement.items)
                return self._after_with(statement, done=done)
            case ast.For() | ast.AsyncFor() | ast.While():
                return self._after_loop(statement, done=done)
            case ast.Try() | ast.TryStar():
                return self._after_try(statement, done=done)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return done
        return done or self._does(statement)

    def _after_with(self, statement: ast.With | ast.AsyncWith, *, done: bool) -> bool | None:
        state = self.through(statement.body, done=done)
        # What is suppressed goes on behind it with nothing done.
        return _both(state, done) if is_suppressing(statement) else state

    def _after_loop(self, loop: ast.For | ast.AsyncFor | ast.While, *, done: bool) -> bool | None:
        head = loop.test if isinstance(loop, ast.While) else loop.iter
        done = done or self._does(head)
        self.through(loop.body, done=done)
        if isinstance(head, ast.Constant) and head.value and not _breaks(loop):
            return None
        return self.through(loop.orelse, done=done)

    def _after_match(self, statement: ast.Match, *, done: bool) -> bool | None:
        state: bool | None = None
        exhausted = False
        for case in statement.cases:
            state = _both(state, self.through(case.body, done=done))
            wild = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
            exhausted = exhausted or (wild and case.guard is None)
        return state if exhausted else _both(state, done)

    def _after_try(self, statement: ast.Try | ast.TryStar, *, done: bool) -> bool | None:
        finally_does = Way(self._marker).through(statement.finalbody) is True
        inner = Way(self._marker)
        state = inner.through(statement.body, done=done)
        if state is not None:
            state = inner.through(statement.orelse, done=state)
        for handler in statement.handlers:
            state = _both(state, inner.through(handler.body, done=done))
        if not finally_does:
            self.left_without += inner.left_without
        if state is None:
            return None
        return self.through(statement.finalbody, done=state)


def is_suppressing(statement: ast.With | ast.AsyncWith) -> bool:
    """Tell whether exceptions may end at a with statement."""
    return any(last_name(item.context_expr) == "suppress" for item in statement.items)


def _both(one: bool | None, other: bool | None) -> bool | None:
    """Join two ways: done only where all that go on are."""
    if one is None or other is None:
        return other if one is None else one
    return one and other


def _breaks(loop: ast.stmt) -> bool:
    return any(isinstance(node, ast.Break) for node in ast.walk(loop))


def always(function: ast.FunctionDef | ast.AsyncFunctionDef, marker: Marker) -> bool:
    """Tell whether every way through a function that returns makes such a call."""
    way = Way(marker)
    end = way.through(function.body)
    return not way.left_without and end is not False


def ends(body: Sequence[ast.stmt]) -> bool:
    """Tell whether the end of ``body`` is never reached: each way returns or raises."""
    return Way(lambda _call: False).through(body) is None
