"""P12-DIRECT-RUN: nothing but the worker calls, takes or passes on what runs a plugin."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from phase12.source import Finding, Module, last_name
from phase12.taint import Kind, Taint, words

RULE = "P12-DIRECT-RUN"
WORKER = "sandbox/inside/worker.py"
# What runs a plugin here and in the shapes of other hosts.
_METHODS = {"run", "run_tool", "analyze", "__call__"}
_GETTERS = {"getattr", "getattr_static", "__getattribute__", "__getattr__"}
_BY_NAME = {"methodcaller", "attrgetter"}
_ASKING = {"callable", "hasattr", "bool"}
_PAYLOADS = {"payload", "payloads", "image"}
_RUNNERS = (["tool", "runner"], ["toolrunner"])


def check(module: Module) -> Iterator[Finding]:
    """Yield the places where a module runs a plugin, or takes hold of what does."""
    if module.path == WORKER:
        return
    taint = Taint(module)
    for attribute in module.nodes(ast.Attribute):
        if isinstance(attribute.ctx, ast.Load) and attribute.attr in _METHODS:
            yield from _attribute(module, taint, attribute)
    for call in module.nodes(ast.Call):
        yield from _call(module, taint, call)
    for subscript in module.nodes(ast.Subscript):
        if _is_method(taint, subscript.slice) and taint.kind(subscript.value) is Kind.NAMES:
            yield module.finding(subscript, RULE, _TAKEN)
    for pattern in module.nodes(ast.MatchClass):
        if "run" in pattern.kwd_attrs:
            yield module.finding(pattern, RULE, _TAKEN)


_TAKEN = f"this takes a plugin's run; only {WORKER}, inside the sandbox, may (use ToolRunner.run)"
_CALLED = f"this calls a plugin; only {WORKER}, inside the sandbox, may (use ToolRunner.run)"
_UNKNOWN = "this gives a payload to something that may be a plugin's run; give it to ToolRunner.run"


def _attribute(module: Module, taint: Taint, node: ast.Attribute) -> Iterator[Finding]:
    if taint.kind(node.value) is Kind.PLUGIN:
        yield module.finding(node, RULE, _TAKEN)
        return
    call = module.parents.get(node)
    is_called = isinstance(call, ast.Call) and call.func is node
    if node.attr == "run_tool":
        yield module.finding(node, RULE, _UNKNOWN)
    elif is_called and isinstance(call, ast.Call) and node.attr == "run":
        receiver = last_name(node.value)
        is_runner = words(receiver)[-2:] in _RUNNERS or receiver in sys.stdlib_module_names
        given = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "payload")]
        if any(_is_payload(one) for one in given) and not is_runner:
            yield module.finding(node, RULE, _UNKNOWN)


def _is_method(taint: Taint, node: ast.expr) -> bool:
    """Tell whether a key is the name of a method that runs; a variable's name has to hint at it."""
    if isinstance(node, ast.Name) and not set(words(node.id)) & {"method", "run", "attr", "name"}:
        return False
    return taint.text(node) in _METHODS


def _is_payload(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and last_name(node.func) in {"dict", "copy"} and node.args:
        node = node.args[0]
    return set(words(last_name(node))[-1:]) <= _PAYLOADS and last_name(node) != ""


def _call(module: Module, taint: Taint, call: ast.Call) -> Iterator[Finding]:
    name = last_name(call.func)
    if name in _BY_NAME:
        texts = [taint.text(one) or "" for one in call.args]
        if any(text.rpartition(".")[2] in _METHODS for text in texts):
            yield module.finding(call, RULE, _TAKEN)
    elif name in _GETTERS and call.args:
        yield from _getter(module, taint, call)
    elif name in {"get", "pop", "__getitem__"} and isinstance(call.func, ast.Attribute):
        # The text first: what a name is bound to is found out only where it matters.
        is_its = bool(call.args) and _is_method(taint, call.args[0])
        if is_its and taint.kind(call.func.value) is Kind.NAMES:
            yield module.finding(call, RULE, _TAKEN)
    if _calls_plugin(taint, call):
        yield module.finding(call, RULE, _CALLED)


def _getter(module: Module, taint: Taint, call: ast.Call) -> Iterator[Finding]:
    objects = [one for one in call.args if taint.kind(one) is Kind.PLUGIN]
    if isinstance(call.func, ast.Attribute) and taint.kind(call.func.value) is Kind.PLUGIN:
        objects.append(call.func.value)
    if not objects:
        return
    parent = module.parents.get(call)
    is_called = isinstance(parent, ast.Call) and parent.func is call
    if isinstance(parent, ast.Call) and last_name(parent.func) in _ASKING:
        return
    texts = [taint.text(one) for one in call.args if one not in objects][:1]
    if texts and (texts[0] in _METHODS or (texts[0] is None and is_called)):
        yield module.finding(call, RULE, _TAKEN)


def _calls_plugin(taint: Taint, call: ast.Call) -> bool:
    """Tell whether a plugin itself is called: a function that a registry holds."""
    if not call.args or not _is_payload(call.args[0]):
        return False
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "plugin" or taint.is_flow(function)
    return isinstance(function, ast.Call | ast.Subscript) and taint.kind(function) is Kind.PLUGIN
