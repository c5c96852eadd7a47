"""All rules: their names, what each says, and how a tree is held against them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator

from phase12 import (
    direct_run,
    errors,
    imports,
    metrics,
    plugin_code,
    services,
    source,
    tool_runner,
)
from phase12.source import Finding, Module, Sources, last_name

RULES: dict[str, str] = {
    source.UNREADABLE: "Every file is regular, readable, UTF-8 and valid Python.",
    direct_run.RULE: "No plugin is run, and nothing takes hold of a plugin's run, outside "
    "sandbox/inside/worker.py, which runs inside the sandbox.",
    plugin_code.PLUGIN_CODE: "The parent imports, executes and loads no plugin code: no dynamic "
    "import, no exec, no entry point's load, no change of sys.path.",
    tool_runner.EXISTS: "Class ToolRunner exists once, in runner/tool_runner.py, with one run; "
    "nothing derives from it, replaces it or patches it.",
    tool_runner.SIGNATURE: "ToolRunner.run is a plain method that takes (self, plugin_name, "
    "payload) and needs nothing more.",
    tool_runner.PAIR: "ToolRunner.run returns (result, None) or (None, envelope) on every path.",
    tool_runner.STEPS: "Look-up, input validation, the call and output validation happen in this "
    "order in the try of ToolRunner.run, on every path; nothing else calls the sandbox.",
    tool_runner.METRICS: "update_execution_metrics is called with all four arguments, once and "
    "unconditionally, directly in the finally of ToolRunner.run's try.",
    metrics.BYPASS: "Nothing but ToolRunner.run records a call or changes the registry's counts.",
    metrics.RULE: "PluginRegistry has update_execution_metrics and every field of the metrics.",
    tool_runner.ESCAPE: "ToolRunner.run catches every Exception and raises none.",
    tool_runner.ENVELOPE: "Every error that ToolRunner.run returns is made by "
    "build_error_envelope.",
    services.TRY_AROUND: "No door or service puts try/except or suppress around ToolRunner.",
    services.SERVICES: "AnalysisService calls JobManagementService only, that calls "
    "PluginManagementService only, that calls ToolRunner only: always, and unchanged.",
    services.DOORS: "Doors run plugins through AnalysisService.analyze only.",
    errors.RULE: "No raw exception, traceback or internal half of an envelope is returned.",
    imports.DIRECTION: "Imports go one way: api, runner, then plugins and sandbox; sandbox stands "
    "on the standard library and psutil; what runs inside a box, on the former alone.",
    imports.ONE_PLACE: "FastAPI is imported in api only, and ctypes in "
    "sandbox/inside/syscalls.py only.",
}

_REQUIRED = {
    tool_runner.PATH: (tool_runner.EXISTS, "ToolRunner file not found"),
    metrics.REGISTRY: (metrics.RULE, "the registry's file is not there"),
    metrics.STATE: (metrics.RULE, "the file of the metrics' fields is not there"),
    direct_run.WORKER: (direct_run.RULE, "the file that runs plugins is not there"),
    **{
        service.path: (services.SERVICES, f"the file of {service.name} is not there")
        for service in services.SERVICE_TABLE
    },
    "api/http/analyze.py": (services.DOORS, "the file of the route /v1/analyze is not there"),
    "runner/payloads/validation.py": (tool_runner.STEPS, "the file of the validation is not there"),
}
_VALIDATORS = ("validate_input_payload", "validate_json_payload", "parse_result",
               "validate_plugin_output")  # fmt: skip

_CHECKS: tuple[Callable[[Module], Iterable[Finding]], ...] = (
    direct_run.check,
    plugin_code.check,
    imports.check, services.check, metrics.check, errors.check,
)  # fmt: skip


def check(module: Module) -> list[Finding]:
    """Return what is wrong with one file; that depends on nothing but the file."""
    try:
        found = [finding for rule in _CHECKS for finding in rule(module)]
        found += _only_one(module)
        if module.path == tool_runner.PATH:
            found += tool_runner.check(module)
        if module.path == "runner/payloads/validation.py":
            found += _validators(module)
    except RecursionError:
        sentence = "its expressions are nested too deeply to be followed"
        return [Finding(module.path, 1, source.UNREADABLE, sentence)]
    return found


def scan(sources: Sources, *, there: Collection[str] | None = None) -> list[Finding]:
    """Return all findings about a tree, sorted; one a line and rule.

    ``there`` are all its files, where ``sources`` are only some of them.
    """
    found = list(sources.unreadable)
    if there is None:
        there = {*sources.modules, *(finding.path for finding in found)}
    for path, (rule, sentence) in _REQUIRED.items():
        if path not in there:
            found.append(Finding(path, 1, rule, sentence))
    for module in sources.modules.values():
        found += check(module)
    places = {(one.path, one.line, one.rule): one for one in sorted(found, reverse=True)}
    return sorted(places.values())


def _only_one(module: Module) -> Iterator[Finding]:
    """Yield second ToolRunners, and changes of the one there is."""
    rule = tool_runner.EXISTS
    for owner in module.nodes(ast.ClassDef):
        if owner.name == "ToolRunner" and module.path != tool_runner.PATH:
            yield module.finding(owner, rule, "a second class ToolRunner")
        if any(last_name(base) == "ToolRunner" for base in owner.bases):
            yield module.finding(owner, rule, f"{owner.name} derives from ToolRunner")
    for name in module.nodes(ast.Name):
        if name.id == "ToolRunner" and not isinstance(name.ctx, ast.Load):
            yield module.finding(name, rule, "the name ToolRunner is given to something else")
    for alias in module.nodes(ast.alias):
        if alias.asname == "ToolRunner":
            yield module.finding(alias, rule, "something else is imported as ToolRunner")
    yield from _patches(module)


def _patches(module: Module) -> Iterator[Finding]:
    rule = tool_runner.EXISTS
    for attribute in module.nodes(ast.Attribute):
        is_changed = not isinstance(attribute.ctx, ast.Load)
        is_its = attribute.attr in {"run", "registry"} and services.is_runner(attribute.value)
        if is_changed and is_its:
            yield module.finding(attribute, rule, f"ToolRunner's {attribute.attr} is replaced")
    for call in module.nodes(ast.Call):
        if last_name(call.func) == "setattr" and call.args and services.is_runner(call.args[0]):
            yield module.finding(call, rule, "ToolRunner is patched")


def _validators(module: Module) -> Iterator[Finding]:
    """Yield validators that are missing, and those that can refuse nothing."""
    functions = {one.name: one for one in module.tree.body if isinstance(one, ast.FunctionDef)}
    refusing: set[str] = set()
    for _ in functions:
        refusing |= {
            name
            for name, function in functions.items()
            for node in ast.walk(function)
            if isinstance(node, ast.Raise)
            or (isinstance(node, ast.Call) and last_name(node.func) in refusing)
        }
    for name in _VALIDATORS:
        if name not in functions:
            yield module.finding(module.tree, tool_runner.STEPS, f"{name} is missing")
        elif name not in refusing:
            yield module.finding(functions[name], tool_runner.STEPS, f"{name} refuses nothing")
