"""P12-DIRECT-RUN: nobody runs a plugin, or takes hold of its ``run``, but where that belongs.

Here that is the file which runs inside the sandbox; in a project without one, ToolRunner's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.origins import Origins
from phase12.source import INSIDE, SHIPPED, Finding, Module, last_name, words

RULE = "P12-DIRECT-RUN"
WORKER = f"{INSIDE}worker.py"
_METHODS = {"run", "run_tool", "analyze", "execute", "__call__"}
_OF_ITS_CODE = _METHODS | {"run_batch", "warm_up"}  # which in the box all of its programs look at
_RUN = {"run", "run_tool"}
_OF_THE_REGISTRY = ("runner/registry/", "runner/tool_runner.py", "scripts/", "toolrunner/")
# Where objects come in that somebody registered: each may be a plugin, whatever it is called.
_REGISTERED = ("plugins/", "runner/registry/")
_OPEN_TYPES = {"object", "type", "Any", "Callable"}
_KEYS = {"run", "run_tool", "handler"}
_STARTING = {"submit", "to_thread", "run_in_executor", "run_in_threadpool", "apply_async", "apply",
             "Thread", "Process", "Timer", "start_new_thread", "run_sync", "call_soon",
             "call_soon_threadsafe", "call_later", "call_at"}  # fmt: skip
_LATER = {"Timer", "call_later", "call_at"}  # first these are told when
_VAGUE = {"it", "one", "that", "this", "thing", "obj", "object", "item", "entry", "target", "tool"}
_CALLED = "a plugin is run past ToolRunner.run"
_TAKEN = "a plugin's run is taken hold of past ToolRunner.run"


def check(module: Module, origins: Origins, home: str) -> Iterator[Finding]:
    """Yield where a plugin is run; ``home`` is the one file that may."""
    if module.path == home or module.path.startswith(SHIPPED):
        return
    methods = _METHODS if module.path.startswith(INSIDE) else _OF_ITS_CODE
    for attribute in module.nodes(ast.Attribute):
        is_taken = attribute.attr in methods and isinstance(attribute.ctx, ast.Load)
        if attribute.attr == "execute" and words(last_name(attribute.value))[-1:] == ["plugins"]:
            continue  # a table of a database
        if is_taken and origins.is_plugin(attribute.value):
            yield module.finding(attribute, RULE, _TAKEN)
    for match in module.nodes(ast.Match):
        for pattern in [one for one in ast.walk(match) if isinstance(one, ast.MatchClass)]:
            if _METHODS & {*pattern.kwd_attrs} and origins.is_plugin(match.subject):
                yield module.finding(pattern, RULE, _TAKEN)
    for call in module.nodes(ast.Call):
        if sentence := _sentence(module, origins, call):
            yield module.finding(call, RULE, sentence)


def _sentence(module: Module, origins: Origins, call: ast.Call) -> str:
    """Return what is wrong with a call, "" when nothing is."""
    name = last_name(call.func)
    if module.path.startswith(_REGISTERED) and _is_handed_in(origins, call.func):
        return "an object that was registered is called"
    if name in {"methodcaller", "attrgetter"}:
        texts = [one.value for one in call.args if isinstance(one, ast.Constant)]
        return _TAKEN if not texts or {*texts} & {"run", "run_tool"} else ""
    if name == "reduce" and last_name((*call.args, None)[0]) in {"getattr", "getattr_static"}:
        return _TAKEN if any(map(origins.is_plugin, call.args)) else ""
    if name in {"getattr", "getattr_static", "__getattribute__"}:
        return _TAKEN if _gets_run(module, origins, call) else ""
    if name == "get" and _is_registry(module, call.func):
        return "an instance is taken out of the registry"
    if name in _STARTING:
        named = [one.value for one in call.keywords if one.arg in {"target", "function", "func"}]
        given = [*call.args[name in _LATER : 2], *named]
        first = next((one for one in given if not _is_nothing(one)), None)
        return _TAKEN if isinstance(first, ast.Name) and _is_one_plugin(origins, first) else ""
    if isinstance(call.func, ast.Subscript | ast.Call) and (
        origins.is_plugin(call.func) or _is_of_table(origins, call)
    ):
        return _CALLED
    if isinstance(call.func, ast.Name) and _is_one_plugin(origins, call.func):
        return _CALLED
    is_run = isinstance(call.func, ast.Attribute) and name in {"run", "run_tool"}
    if is_run and isinstance(call.func, ast.Attribute) and _carries_payload(call):
        return "" if _is_other(origins, call.func.value) else _CALLED
    return ""


def _is_handed_in(origins: Origins, node: ast.expr, depth: int = 4) -> bool:
    """Tell whether something is a parameter that may be anything, made by one, or a part of one."""
    if isinstance(node, ast.Attribute):
        return node.attr in _OF_ITS_CODE and _is_handed_in(origins, node.value, depth)
    if isinstance(node, ast.Call):
        is_taken = last_name(node.func) in {"getattr", "getattr_static"} and node.args
        return _is_handed_in(origins, node.args[0] if is_taken else node.func, depth)
    if not isinstance(node, ast.Name):
        return False
    if said := origins.types_of(node):
        return any(last_name(one) in _OPEN_TYPES for one in said)
    given = [one for one in origins.sources(node) if isinstance(one, ast.Call | ast.Name)]
    return depth > 0 and any(_is_handed_in(origins, one, depth - 1) for one in given)


def _gets_run(module: Module, origins: Origins, call: ast.Call) -> bool:
    objects, texts = call.args[:1], call.args[1:2]
    if isinstance(call.func, ast.Attribute) and last_name(call.func) == "__getattribute__":
        objects, texts = [call.func.value, *call.args[:-1]], call.args[-1:]
    parent = module.parents.get(call)
    is_plain = bool(texts) and isinstance(texts[0], ast.Constant) and texts[0].value in _RUN
    if is_plain and not (isinstance(parent, ast.Call) and last_name(parent.func) == "callable"):
        return not any(map(origins.is_known, objects))
    if not any(map(origins.is_plugin, objects)) or not texts:
        return False
    if isinstance(parent, ast.Call) and last_name(parent.func) in {"callable", "isinstance"}:
        return False
    said = [one for one in (texts[0], *origins.sources(texts[0])) if isinstance(one, ast.Constant)]
    if said:
        return any(one.value in _METHODS for one in said)
    return isinstance(parent, ast.Call) and parent.func is call


def _is_registry(module: Module, function: ast.expr) -> bool:
    """Tell whether a call is of a registry's ``get``, which is for ToolRunner."""
    if module.path.startswith(_OF_THE_REGISTRY) or not isinstance(function, ast.Attribute):
        return False
    return words(last_name(function.value))[-1:] == ["registry"]


def _is_one_plugin(origins: Origins, name: ast.Name) -> bool:
    """Tell whether a name is a plugin itself, and not many of them or a function of ours."""
    if name.id in origins.imported or words(name.id)[-1:] in (["plugins"], ["registry"]):
        return False
    return words(name.id) == ["plugin"] or any(map(origins.is_plugin, origins.sources(name)))


def _is_other(origins: Origins, node: ast.expr) -> bool:
    """Tell whether what runs a payload is known, or a parameter whose name says what it is."""
    is_said = isinstance(node, ast.Name) and len(node.id) > 1 and node.id not in _VAGUE
    return origins.is_known(node) or (is_said and not origins.is_bound(node))


def _is_of_table(origins: Origins, call: ast.Call) -> bool:
    """Tell whether what is called stands in a table as a plugin's handler."""
    function = call.func
    if isinstance(function, ast.Subscript):
        key: ast.AST = function.slice
    elif isinstance(function, ast.Call) and last_name(function.func) == "get" and function.args:
        key = function.args[0]
    else:
        return False
    root: ast.AST = function
    while isinstance(root, ast.Subscript | ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    tables = origins.sources(root)
    is_ours = bool(tables) and all(isinstance(one, ast.Dict) and one.keys for one in tables)
    return isinstance(key, ast.Constant) and key.value in _KEYS and not is_ours


def _carries_payload(call: ast.Call) -> bool:
    given = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "payload")]
    names = {last_name(one) for whole in given for one in ast.walk(whole)}
    return "payload" in names


def _is_nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
