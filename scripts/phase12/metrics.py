"""The registry's metrics: they are there, and nothing but ToolRunner records or changes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.flow import always
from phase12.source import Finding, Module, last_name

RULE = "P12-REGISTRY"
BYPASS = "P12-METRICS-BYPASS"

REGISTRY = "runner/registry/registry.py"
STATE = "runner/registry/plugin_state.py"
_TOOL_RUNNER = "runner/tool_runner.py"
_METHOD = "update_execution_metrics"
_PARAMETERS = ["self", "plugin_name", "state", "elapsed_ms", "had_error"]
FIELDS = (
    "success_count", "error_count", "last_execution_time_ms", "avg_execution_time_ms", "last_used",
    "state",
)  # fmt: skip
_COUNTED = {"success_count", "error_count", "times_ms", "last_used", "in_flight"}
_KEEPERS = {REGISTRY, STATE, "runner/registry/shared_metrics.py"}


def check(module: Module) -> Iterator[Finding]:
    """Yield what is missing of the metrics, and who changes them past ToolRunner."""
    if module.path == REGISTRY:
        yield from _registry(module)
    if module.path == STATE:
        yield from _fields(module)
    yield from _bypasses(module)


def _registry(module: Module) -> Iterator[Finding]:
    classes = module.classes("PluginRegistry")
    methods = [
        one
        for one in (classes[0].body if classes else [])
        if isinstance(one, ast.FunctionDef) and one.name == _METHOD
    ]
    if not methods:
        sentence = f"PluginRegistry.{_METHOD}, a plain method, is missing"
        yield module.finding(classes[0] if classes else module.tree, RULE, sentence)
        return
    method = methods[0]
    names = [one.arg for one in (*method.args.posonlyargs, *method.args.args)]
    if names != _PARAMETERS or method.decorator_list:
        sentence = f"{_METHOD} has to take ({', '.join(_PARAMETERS)})"
        yield module.finding(method, RULE, sentence)
    records = [
        node
        for node in ast.walk(method)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr, last_name(node.func.value)) == ("record", "entry")
    ]
    if not records:
        yield module.finding(method, RULE, f"{_METHOD} records nothing")
    elif any(isinstance(one, ast.Return) for one in ast.walk(method)):
        yield module.finding(method, RULE, f"{_METHOD} may return before it has recorded")


def _fields(module: Module) -> Iterator[Finding]:
    classes = module.classes("PluginStatus")
    there = {
        one.target.id
        for one in (classes[0].body if classes else [])
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    for name in FIELDS:
        if name not in there:
            sentence = f"PluginStatus has no {name}"
            yield module.finding(classes[0] if classes else module.tree, RULE, sentence)
    for function in module.nodes(ast.FunctionDef):
        if function.name == "record":
            counted = {
                last_name(one.target)
                for one in ast.walk(function)
                if isinstance(one, ast.AugAssign)
            }
            for name in sorted({"success_count", "error_count"} - counted):
                yield module.finding(function, RULE, f"record does not count {name}")
            if not always(function, lambda call: last_name(call.func) == "append"):
                yield module.finding(function, RULE, "record does not keep the time of each call")


def _bypasses(module: Module) -> Iterator[Finding]:
    allowed = set(_within_run(module)) if module.path == _TOOL_RUNNER else set()
    for attribute in module.nodes(ast.Attribute):
        if attribute not in allowed and (sentence := _bypass(module, attribute)):
            yield module.finding(attribute, BYPASS, sentence)
    if module.path == REGISTRY:
        return
    for constant in module.nodes(ast.Constant):
        if constant.value == _METHOD:
            yield module.finding(constant, BYPASS, f"{_METHOD} is taken by its name, as text")
    for function in module.functions():
        if function.name == _METHOD:
            sentence = f"a second {_METHOD}: the registry's own is the one that counts"
            yield module.finding(function, BYPASS, sentence)


def _bypass(module: Module, attribute: ast.Attribute) -> str:
    """Return what is wrong with an attribute; "" if nothing is."""
    if attribute.attr == _METHOD:
        return f"{_METHOD} is for ToolRunner.run alone to call"
    if attribute.attr == "_entries" and last_name(attribute.value) != "self":
        return "the registry's entries are its own to change"
    is_changed = isinstance(attribute.ctx, ast.Store)
    if is_changed and attribute.attr in _COUNTED and module.path not in _KEEPERS:
        return f"{attribute.attr} is counted by the registry alone"
    return ""


def _within_run(module: Module) -> Iterator[ast.AST]:
    for owner in module.classes("ToolRunner"):
        for one in owner.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == "run":
                yield from ast.walk(one)
