"""The way of a call: door, the three services, ToolRunner.

Each only delegates to the next, always, and nobody stands between with a try.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from phase12.flow import Way, is_suppressing, own_nodes
from phase12.imports import imported
from phase12.source import FUNCTIONS, Finding, Module, last_name
from phase12.taint import words

SERVICES = "P12-SERVICES"
DOORS = "P12-DOORS"
TRY_AROUND = "P12-TRY-AROUND"

TOOL_RUNNER = "runner/tool_runner.py"
_RUNS = {"run", "arun"}
_WIRING = "runner/services/backend.py"


@dataclass(frozen=True)
class Service:
    """A service: its method that runs a plugin, the one call it makes, and what it never names."""

    path: str
    name: str
    method: str
    delegate: str
    never: frozenset[str]


SERVICE_TABLE = (
    Service(
        "runner/services/analysis.py", "AnalysisService", "analyze", "run_job",
        frozenset({"PluginManagementService", "ToolRunner", "PluginRegistry", "Sandbox"}),
    ),
    Service(
        "runner/services/job_management.py", "JobManagementService", "run_job", "execute_plugin",
        frozenset({"AnalysisService", "ToolRunner", "PluginRegistry", "Sandbox"}),
    ),
    Service(
        "runner/services/plugin_management.py", "PluginManagementService", "execute_plugin", "run",
        frozenset({"AnalysisService", "JobManagementService", "PluginRegistry", "Sandbox"}),
    ),
)  # fmt: skip
_BY_PATH = {service.path: service for service in SERVICE_TABLE}
# Who may make each step of the way, or hand it on.
_MAY = {
    "run_job": {"runner/services/analysis.py", _WIRING},
    "execute_plugin": {"runner/services/job_management.py"},
    "run": {"runner/services/plugin_management.py"},
}


def check(module: Module) -> Iterator[Finding]:
    """Yield where a module leaves the way."""
    if module.path == TOOL_RUNNER:
        return
    service = _BY_PATH.get(module.path)
    if service is not None:
        yield from _service(module, service)
    yield from _shortcuts(module)
    if module.path.startswith("api/"):
        yield from _door(module)
    for call in module.nodes(ast.Call):
        if _step_of(call.func) and _guarded(module, call):
            sentence = "a try/except around ToolRunner, which returns its errors and raises none"
            yield module.finding(call, TRY_AROUND, sentence)


def is_runner(node: ast.expr) -> bool:
    """Tell whether an expression is a ToolRunner, by its name."""
    return words(last_name(node))[-2:] in (["tool", "runner"], ["toolrunner"])


def _step_of(function: ast.expr) -> str:
    """Return which step of the way a function is: run_job, execute_plugin, run, analyze or ""."""
    if not isinstance(function, ast.Attribute):
        return ""
    if function.attr in _RUNS and is_runner(function.value):
        return "run"
    if function.attr == "analyze" and words(last_name(function.value))[-1:] in (
        ["analysis"],
        ["service"],
    ):
        return "analyze"
    return function.attr if function.attr in {"run_job", "execute_plugin"} else ""


# The services


def _service(module: Module, service: Service) -> Iterator[Finding]:
    classes = module.classes(service.name)
    methods = [
        one
        for one in (classes[0].body if classes else [])
        if isinstance(one, ast.FunctionDef) and one.name == service.method
    ]
    if not methods:
        sentence = f"{service.name}.{service.method}, a plain method, is missing"
        yield module.finding(classes[0] if classes else module.tree, SERVICES, sentence)
        return
    yield from _delegation(module, service, methods[0])
    for node in module.nodes(ast.Name):
        if node.id in service.never:
            sentence = f"{service.name} may not work with {node.id}; it delegates to the one below"
            yield module.finding(node, SERVICES, sentence)
    for where, name in imported(module):
        last = name.rpartition(".")[2]
        if last in service.never:
            sentence = f"{service.name} may not import {last}; it delegates to the one below"
            yield module.finding(where, SERVICES, sentence)
    for attribute in module.nodes(ast.Attribute):
        if attribute.attr in {"_sandbox", "_tool_runner"} and not (
            attribute.attr == "_tool_runner" and service.delegate == "run"
        ):
            sentence = f"{service.name} may not reach for {attribute.attr}"
            yield module.finding(attribute, SERVICES, sentence)


def _delegation(module: Module, service: Service, method: ast.FunctionDef) -> Iterator[Finding]:
    def delegates(call: ast.Call) -> bool:
        return _step_of(call.func) == service.delegate

    way = Way(delegates)
    end = way.through(method.body)
    missing = f"{service.name}.{service.method} must call {service.delegate}, on every way"
    if end is False or way.left_without:
        yield module.finding(way.left_without[0] if way.left_without else method, SERVICES, missing)
        return
    calls = [node for node in own_nodes(method) if isinstance(node, ast.Call) and delegates(node)]
    names: list[str] = []
    for call in calls:
        given = [one.id if isinstance(one, ast.Name) else "" for one in call.args]
        given += [
            keyword.value.id
            for keyword in call.keywords
            if keyword.arg in {"plugin_name", "payload"} and isinstance(keyword.value, ast.Name)
        ]
        if given[:2] != ["plugin_name", "payload"]:
            sentence = f"{service.name}.{service.method} must pass on plugin_name and payload"
            yield module.finding(call, SERVICES, sentence)
        statement = module.parents.get(call)
        if isinstance(statement, ast.Assign):
            names = [last_name(one) for target in statement.targets for one in _parts(target)]
    for node in own_nodes(method):
        if isinstance(node, ast.Return) and node.value not in calls:
            returned = [last_name(one) for one in _parts(node.value)] if node.value else []
            if not names or returned != names:
                sentence = f"{service.name}.{service.method} must return what it was given"
                yield module.finding(node, SERVICES, sentence)
    rebound = {
        node.id
        for node in own_nodes(method)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if rebound & {"plugin_name", "payload"}:
        sentence = f"{service.name}.{service.method} must not change plugin_name or payload"
        yield module.finding(method, SERVICES, sentence)


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


# The ways past them


def _shortcuts(module: Module) -> Iterator[Finding]:
    rule = DOORS if module.path.startswith("api/") else SERVICES
    for attribute in module.nodes(ast.Attribute):
        step = _step_of(attribute) if isinstance(attribute.ctx, ast.Load) else ""
        if step in _MAY and module.path not in _MAY[step]:
            sentence = f"{attribute.attr} is a step that is not this file's to make; "
            sentence += "a door calls AnalysisService.analyze"
            yield module.finding(attribute, rule, sentence)
        elif attribute.attr == "call" and words(last_name(attribute.value))[-1:] == ["sandbox"]:
            yield module.finding(attribute, rule, "the sandbox is called past ToolRunner.run")
    for call in module.nodes(ast.Call):
        if last_name(call.func) in {"getattr", "methodcaller", "attrgetter"}:
            texts = {one.value for one in call.args if isinstance(one, ast.Constant)}
            if texts & {"run_job", "execute_plugin", "arun", "_tool_runner", "_sandbox"}:
                yield module.finding(call, rule, "a step of the way is taken by its name, as text")


def _door(module: Module) -> Iterator[Finding]:
    for attribute in module.nodes(ast.Attribute):
        if attribute.attr in {"_tool_runner", "_jobs", "_plugins", "_dispatcher", "_sandbox"}:
            of = last_name(attribute.value)
            if of not in {"self", "cls"}:
                sentence = f"a door reaches for {attribute.attr}; it has AnalysisService to call"
                yield module.finding(attribute, DOORS, sentence)
    for where, name in imported(module):
        last = name.rpartition(".")[2]
        is_route = module.path.startswith("api/http/")
        if last in {"Sandbox", "Exchange", "JobDispatcher"} or (is_route and last == "ToolRunner"):
            sentence = f"a door may not import {last}; it has AnalysisService to call"
            yield module.finding(where, DOORS, sentence)
    if module.path == "api/http/analyze.py":
        calls = [one for one in module.nodes(ast.Call) if _step_of(one.func) == "analyze"]
        if not calls:
            sentence = "the route /v1/analyze must call AnalysisService.analyze"
            yield module.finding(module.tree, DOORS, sentence)


def _guarded(module: Module, call: ast.Call) -> bool:
    """Tell whether an except or a suppress stands around a call, in a door or a service."""
    is_way = module.path.startswith(("api/", "runner/services/"))
    if not is_way and _step_of(call.func) != "run":
        return False
    inner: ast.AST = call
    for outer in module.above(call):
        if isinstance(outer, ast.Try | ast.TryStar) and outer.handlers and inner in outer.body:
            return True
        if isinstance(outer, ast.With | ast.AsyncWith) and is_suppressing(outer):
            return True
        if isinstance(outer, FUNCTIONS):
            return False
        inner = outer
    return False
