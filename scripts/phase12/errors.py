"""P12-RAW-ERROR: no exception's own text, traceback or internals reach whoever asks over HTTP.

And every envelope is made in one place, which makes what it is told harmless.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator

from phase12.imports import imported
from phase12.source import FUNCTIONS, Finding, Module, last_name, words

RULE = "P12-RAW-ERROR"
_TRACEBACK = {
    "format_exc", "format_exception", "print_exc", "format_tb", "format_exception_only",
    "TracebackException",
}  # fmt: skip
_BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_TEXT = {
    "str",
    "repr",
    "format",
    "map",
    "join",
    "HTTPException",
    "JSONResponse",
    "PlainTextResponse",
}
_SAYING = {
    "args", "__traceback__", "strerror", "message", "detail", "__str__", "__repr__", "__format__",
    "__notes__", "__dict__", "__reduce__",
}  # fmt: skip
_ANSWERING = {"analyze", "run_job", "execute_plugin", "run", "arun"}
_CAUGHT = {"exc_info", "last_exc", "last_value"}
_BUILDS = "build_error_envelope"
_OURS = ("api/", "runner/", "plugins/", "sandbox/")
_LOGS = (["log"], ["logger"], ["logging"])


def check(module: Module) -> Iterator[Finding]:
    """Yield where a raw exception may leave: in what answers requests, or keeps their answers."""
    yield from _made_by_hand(module)
    if module.path.startswith(("api/http/", "runner/jobs/")):
        yield from _whole_envelopes(module)
    if module.path.startswith(("runner/jobs/", "runner/services/")):
        yield from _tracebacks(module)
    tops = {name.partition(".")[0] for _, name in imported(module)}
    is_door = tops & {"fastapi", "starlette"} or module.path.startswith("api/http/")
    if not is_door or module.path.startswith("scripts/"):
        return
    yield from _texts(module)
    yield from _tracebacks(module)
    for node in (*module.nodes(ast.Attribute), *module.nodes(ast.Name)):
        is_caught = last_name(node) in _CAUGHT or ast.unparse(node) == "sys.exception"
        if is_caught and not _is_logged(module, node):
            yield module.finding(node, RULE, "an exception is taken from where Python keeps it")
    for constant in module.nodes(ast.Constant):
        is_asked = isinstance(module.parents[constant], ast.Compare)
        if constant.value == "_internal" and not is_asked and not _is_logged(module, constant):
            yield module.finding(constant, RULE, "_internal is for the log and the local caller")
    yield from _answers(module)


def _tracebacks(module: Module) -> Iterator[Finding]:
    for node in (*module.nodes(ast.Attribute), *module.nodes(ast.Name)):
        if last_name(node) in _TRACEBACK and not _is_logged(module, node):
            yield module.finding(node, RULE, "a traceback is for the log alone")


def _made_by_hand(module: Module) -> Iterator[Finding]:
    """Yield envelopes that ``build_error_envelope`` has not made."""
    if not module.path.startswith(_OURS) or _BUILDS in {one.name for one in module.functions()}:
        return
    made: list[tuple[ast.expr, set[object]]] = [
        (one, {key.value for key in one.keys if isinstance(key, ast.Constant)})
        for one in module.nodes(ast.Dict)
    ]
    made += [(one, {key.arg for key in one.keywords}) for one in module.calls("dict", "Envelope")]
    for whole, names in made:
        if "_internal" in names:
            yield module.finding(whole, RULE, f"an envelope is made by {_BUILDS} alone")


def _whole_envelopes(module: Module) -> Iterator[Finding]:
    """Yield where more of an envelope is taken than ``["error"]``, by whatever name it has."""
    sentence = 'more of an envelope is taken than envelope["error"], which alone may leave'
    known = {*_second_answers(module), *_parameters(module)}
    own = {one.name for one in module.functions()}
    for name in module.nodes(ast.Name):
        is_one = name.id == "envelope" or (_function(module, name), name.id) in known
        if is_one and isinstance(name.ctx, ast.Load) and not _is_logged(module, name):
            match module.parents[name]:
                case ast.Subscript(slice=ast.Constant(value="error")):
                    continue
                case ast.Compare(comparators=[ast.Constant(value=None)]):
                    continue
                case ast.If() | ast.IfExp() | ast.BoolOp() | ast.UnaryOp():
                    continue
                case ast.Call(func=function) if last_name(function) in own:
                    continue
            yield module.finding(name, RULE, sentence)


def _second_answers(module: Module) -> Iterator[tuple[ast.AST | None, str]]:
    """Yield the names that are given the second half of what a call comes to."""
    for assigned in module.nodes(ast.Assign):
        value = assigned.value.value if isinstance(assigned.value, ast.Await) else assigned.value
        if isinstance(value, ast.Call) and last_name(value.func) in _ANSWERING:
            for target in [one for one in assigned.targets if isinstance(one, ast.Tuple)]:
                yield _function(module, assigned), last_name(target.elts[-1])


def _parameters(module: Module) -> Iterator[tuple[ast.AST | None, str]]:
    """Yield the parameters that are said to be envelopes."""
    for one in module.nodes(ast.arg):
        parts = ast.walk(one.annotation) if one.annotation is not None else ()
        if "Envelope" in {last_name(part) for part in parts}:
            yield _function(module, one), one.arg


def _function(module: Module, node: ast.AST) -> ast.AST | None:
    return next((one for one in module.above(node) if isinstance(one, FUNCTIONS)), None)


def _answers(module: Module) -> Iterator[Finding]:
    for call in module.calls():
        name = last_name(call.func)
        given = [*call.args, *(one.value for one in call.keywords)]
        if name.endswith(("Response", "HTTPException")):
            for one in given:
                if words(last_name(one))[-1:] == ["envelope"]:
                    sentence = 'the whole envelope goes on; only envelope["error"] may leave'
                    yield module.finding(one, RULE, sentence)
        if name in {"FastAPI", "Starlette"} and "debug" in {one.arg for one in call.keywords}:
            yield module.finding(call, RULE, "a server in debug mode answers with tracebacks")


def _texts(module: Module) -> Iterator[Finding]:
    sentence = "an exception's text goes into an answer; name its class only"
    for handler in module.nodes(ast.ExceptHandler):
        if handler.name and _is_foreign(handler.type):
            said = {handler.name: ast.walk(handler)}
            whole = next(
                (one for one in module.above(handler) if isinstance(one, FUNCTIONS)), handler
            )
            for kept in [one for one in ast.walk(handler) if isinstance(one, ast.Assign)]:
                if isinstance(kept.value, ast.Name) and kept.value.id == handler.name:
                    said |= {last_name(one): ast.walk(whole) for one in kept.targets}
            for name, nodes in said.items():
                for node in nodes:
                    is_it = isinstance(node, ast.Name) and node.id == name
                    if is_it and _is_said(module, node):
                        yield module.finding(node, RULE, sentence)


def _is_foreign(caught: ast.expr | None) -> bool:
    """Tell whether an exception may be one whose words are not ours."""
    if isinstance(caught, ast.Tuple):
        return any(_is_foreign(one) for one in caught.elts)
    if isinstance(caught, ast.Attribute):
        return isinstance(caught.value, ast.Name) and caught.value.id in sys.stdlib_module_names
    return caught is None or last_name(caught) in _BUILTIN


def _is_said(module: Module, node: ast.AST) -> bool:
    """Tell whether a mention makes text of an exception, or returns it, other than for the log."""
    parent = module.parents[node]
    if _is_logged(module, node):
        return False
    if isinstance(parent, ast.FormattedValue | ast.BinOp | ast.Return | ast.Dict):
        return True
    if isinstance(parent, ast.Attribute):
        return parent.attr in _SAYING
    outer = next((one for one in module.above(node) if isinstance(one, ast.Call)), None)
    return outer is not None and last_name(outer.func) in _TEXT


def _is_logged(module: Module, node: ast.AST) -> bool:
    return any(
        isinstance(outer, ast.Call)
        and isinstance(outer.func, ast.Attribute)
        and words(last_name(outer.func.value))[-1:] in _LOGS
        for outer in module.above(node)
    )
