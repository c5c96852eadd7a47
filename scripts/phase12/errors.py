"""P12-RAW-ERROR: no exception's own text, traceback or internals reach whoever asked over HTTP."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator

from phase12.source import Finding, Module, last_name
from phase12.taint import words

RULE = "P12-RAW-ERROR"
_RUN = "runner/tool_runner.py"
_ROUTES = ("api/http/", "runner/services/analysis", "runner/services/job", "runner/services/plugin")
_LOGGING = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_TRACEBACK = {
    "format_exc", "format_exception", "print_exc", "format_tb", "print_exception", "exc_info",
    "format_exception_only", "TracebackException",
}  # fmt: skip
_BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def check(module: Module) -> Iterator[Finding]:
    """Yield where a raw exception may leave."""
    is_route = module.path.startswith(_ROUTES)
    if not is_route and module.path != _RUN:
        return
    for handler in module.nodes(ast.ExceptHandler):
        if handler.name and _is_foreign(handler.type):
            yield from _texts(module, handler, handler.name, is_route=is_route)
    if is_route:
        yield from _internals(module)


def _is_foreign(caught: ast.expr | None) -> bool:
    """Tell whether an exception may be one whose words are not ours."""
    if isinstance(caught, ast.Tuple):
        return any(_is_foreign(one) for one in caught.elts)
    if isinstance(caught, ast.Attribute):
        root = caught.value
        return isinstance(root, ast.Name) and root.id in sys.stdlib_module_names
    return caught is None or last_name(caught) in _BUILTIN


def _texts(
    module: Module, handler: ast.ExceptHandler, name: str, *, is_route: bool
) -> Iterator[Finding]:
    sentence = "the text of an exception that is not ours goes into an answer; name its class only"
    for node in ast.walk(handler):
        if not isinstance(node, ast.Name) or node.id != name or not isinstance(node.ctx, ast.Load):
            continue
        parent = module.parents.get(node)
        if isinstance(parent, ast.Raise) or _is_harmless(module, node, parent):
            continue
        is_said = _is_text(parent) or is_route
        if is_said:
            yield module.finding(node, RULE, sentence)


def _is_text(parent: ast.AST | None) -> bool:
    if isinstance(parent, ast.FormattedValue | ast.BinOp):
        return True
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"args", "__traceback__", "strerror", "message"}
    return isinstance(parent, ast.Call) and last_name(parent.func) in {"str", "repr", "format"}


def _is_harmless(module: Module, node: ast.Name, parent: ast.AST | None) -> bool:
    """Tell whether a mention says no more than the class, or goes to the log."""
    if isinstance(parent, ast.Call) and last_name(parent.func) in {"type", "isinstance"}:
        return True
    if isinstance(parent, ast.Compare):
        return True
    if isinstance(parent, ast.Attribute) and parent.attr in {"errno", "details", "status_code"}:
        return True
    for outer in module.above(node):
        if isinstance(outer, ast.Call) and isinstance(outer.func, ast.Attribute):
            receiver = words(last_name(outer.func.value))
            if outer.func.attr in _LOGGING and receiver[-1:] in (["log"], ["logger"], ["logging"]):
                return True
        if isinstance(outer, ast.NamedExpr):
            return False
        if isinstance(outer, ast.stmt):
            # What a test asks goes nowhere; a statement inside of one has been met before it.
            return isinstance(outer, ast.If)
    return False


def _internals(module: Module) -> Iterator[Finding]:
    for attribute in module.nodes(ast.Attribute):
        if attribute.attr in _TRACEBACK:
            yield module.finding(attribute, RULE, "a traceback is for the log alone")
    for used in module.nodes(ast.Name):
        if used.id in _TRACEBACK and isinstance(used.ctx, ast.Load):
            yield module.finding(used, RULE, "a traceback is for the log alone")
        elif words(used.id)[-1:] == ["envelope"] and isinstance(used.ctx, ast.Load):
            yield from _envelope(module, used)
    for constant in module.nodes(ast.Constant):
        if constant.value == "_internal":
            yield module.finding(constant, RULE, "_internal is for the log and the local caller")
    for keyword in module.nodes(ast.keyword):
        if keyword.arg == "debug" and not _is_false(keyword.value):
            sentence = "a server in debug mode answers with tracebacks"
            yield module.finding(keyword.value, RULE, sentence)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _envelope(module: Module, used: ast.Name) -> Iterator[Finding]:
    """Of an envelope only its public half, envelope["error"], may go on."""
    parent = module.parents.get(used)
    if isinstance(parent, ast.Compare | ast.Subscript | ast.If | ast.IfExp | ast.BoolOp):
        return
    if module.path.startswith("api/http/") and not isinstance(parent, ast.UnaryOp):
        sentence = 'the whole envelope goes on; only envelope["error"] may leave'
        yield module.finding(used, RULE, sentence)
