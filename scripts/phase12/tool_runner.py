"""The choke point: one ToolRunner, its run, its record of every call, and its validation."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.imports import imported
from phase12.origins import Origins
from phase12.services import CHAIN
from phase12.source import INSIDE, Finding, Function, Module, last_name, words

EXISTS = "P12-TOOLRUNNER"
METRICS = "P12-METRICS"
VALIDATION = "P12-VALIDATION"
UPDATE = "update_execution_metrics"
_MARKS = {"mark_running", "mark_initialized", "mark_failed", "mark_unavailable", "note_fault"}
# What every call takes, and nothing may take the place of.
_WAY = {"run", "arun", "analyze", "run_job", "execute_plugin"}
_COUNTING = {"begin", "record", "settle"}  # of what processes count together
_COUNTS = ("SharedCounts", "SharedMetrics", "ClusterCounts")
_FOUR = ("plugin_name", "state", "elapsed_ms", "had_error")
_OURS = ("api/", "runner/", "plugins/", "sandbox/")
# Who makes the ToolRunner of a process: a server's backend, a command, a trial of the sandbox.
_MAKERS = ("runner/services/backend.py", "api/cli/", "api/attack/")
# What a process has one of, and no request makes.
_ONCE = {"ToolRunner", "Backend", "PluginRegistry", *CHAIN}
# Attributes that are there for a function to be put in, beside those that begin with "on_".
_MEANT = {"openapi"}
_PLAIN = {"staticmethod", "classmethod", "property", "cached_property"}
_LEAVING = ast.Return | ast.Raise | ast.Break | ast.Continue | ast.Assert


def check_home(module: Module) -> Iterator[Finding]:
    """Yield what is wrong with ToolRunner in its own file."""
    owner = next(one for one in module.nodes(ast.ClassDef) if one.name == "ToolRunner")
    functions = {one.name: one for one in module.functions()}
    runs = [one for one in owner.body if isinstance(one, Function) and one.name == "run"]
    if len(runs) != 1:
        yield module.finding(owner, EXISTS, "ToolRunner needs one run(self, plugin_name, payload)")
        return
    run = runs[0]
    yield from _signature(module, run)
    governed = [one for one in _own(run) if isinstance(one, ast.Try) and one.finalbody]
    if not governed:
        yield module.finding(run, METRICS, "ToolRunner.run() must contain a finally block")
        return
    yield from _record(module, governed)
    records = [one for one in module.nodes(ast.Attribute) if one.attr == UPDATE]
    for again in sorted(records, key=lambda one: one.lineno)[1:]:
        yield module.finding(again, METRICS, "a call is recorded once, in the finally of run")
    called = set().union(*(_reached(functions, statement) for statement in governed[0].body))
    for what, found in {
        "input": any(name.startswith("validate_input") for name in called),
        "output": bool(called & {"validate_plugin_output", "parse_result"}),
    }.items():
        if not found:
            sentence = f"ToolRunner.run does not validate the {what} in its try"
            yield module.finding(governed[0], VALIDATION, sentence)
    if not _is_validated(functions, governed[0].body):
        sentence = "ToolRunner.run validates the input for some calls, and not for all"
        yield module.finding(governed[0], VALIDATION, sentence)
    others = [one for one in owner.body if isinstance(one, Function) and one is not run]
    for function in others:
        reached = _reached(functions, function, {"run"})
        if _is_public(function.name) and "self.*.call" in reached:
            sentence = f"{function.name} comes to the sandbox past ToolRunner.run"
            yield module.finding(function, EXISTS, sentence)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _signature(module: Module, run: Function) -> Iterator[Finding]:
    arguments = run.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    decorated = {last_name(one) for one in run.decorator_list} & _PLAIN
    needed = len(names) - len(arguments.defaults)
    extra = any(default is None for default in arguments.kw_defaults)
    if isinstance(run, ast.AsyncFunctionDef) or decorated:
        yield module.finding(run, EXISTS, "ToolRunner.run() has to be a plain method")
    elif names[:3] != ["self", "plugin_name", "payload"] or needed > 3 or extra:
        sentence = "ToolRunner.run() must accept (self, plugin_name, payload), and need no more"
        yield module.finding(run, EXISTS, sentence)


def _record(module: Module, governed: list[ast.Try]) -> Iterator[Finding]:
    for one in governed:
        for statement in _certain(one.finalbody):
            if isinstance(statement, _LEAVING):
                break
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and last_name(call.func) == UPDATE:
                given = {*_FOUR[: len(call.args)], *(key.arg for key in call.keywords)}
                if not given.issuperset(_FOUR):
                    sentence = f"{UPDATE}() has to be given {', '.join(_FOUR)}"
                    yield module.finding(call, METRICS, sentence)
                return
    sentence = f"{UPDATE}() must be called inside ToolRunner.run()'s finally block, always"
    yield module.finding(governed[0].finalbody[0], METRICS, sentence)


def _certain(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that are executed whatever happens, and the first that may leave."""
    for statement in body:
        if isinstance(statement, ast.With) and "suppress" not in {
            last_name(item.context_expr) for item in statement.items
        }:
            yield from _certain(statement.body)
        else:
            yield next((one for one in _own(statement) if isinstance(one, _LEAVING)), statement)


def _is_validated(functions: dict[str, Function], body: list[ast.stmt]) -> bool:
    """Tell whether an input is validated on each way to the end of a body."""
    branches = ast.If | ast.For | ast.While | ast.Match | ast.Try | ast.IfExp | ast.BoolOp
    for statement in _certain(body):
        if isinstance(statement, ast.Return):
            return False
        is_one_way = not any(isinstance(n, branches | ast.Lambda) for n in ast.walk(statement))
        reached = _reached(functions, statement) if is_one_way else ()
        if any(name.startswith("validate_input") for name in reached):
            return True
    return False


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, without what stands in functions inside of it."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own(child)


def _reached(
    functions: dict[str, Function], start: ast.AST, past: set[str] | None = None
) -> set[str]:
    """Return the names of all that is called from a node, also by functions of the file."""
    found: set[str] = set()
    waiting: list[ast.AST] = [start]
    seen = set(past or ())
    while waiting:
        for call in ast.walk(waiting.pop()):
            name = last_name(call.func) if isinstance(call, ast.Call) else ""
            if name == "call" and isinstance(call.func, ast.Attribute):  # type: ignore[attr-defined]
                found.add("self.*.call")
            found.add(name)
            if name in functions and name not in seen:
                seen.add(name)
                waiting.append(functions[name])
    return found


def check_others(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield what goes around ToolRunner in every other file."""
    for owner in module.nodes(ast.ClassDef):
        if owner.name == "ToolRunner":
            yield module.finding(owner, EXISTS, "a second class ToolRunner")
        elif "ToolRunner" in {origins.called(base) for base in owner.bases}:
            yield module.finding(owner, EXISTS, f"{owner.name} derives from ToolRunner")
    yield from _made(module, origins)
    yield from _replaced(module, origins)
    for attribute in module.nodes(ast.Attribute):
        is_its = _is_runner(attribute.value)
        if is_its and attribute.attr == "__dict__":
            yield module.finding(attribute, EXISTS, "ToolRunner is patched")
    yield from _sandbox(module, origins)
    yield from _bypasses(module, origins)
    yield from _states(module, origins)


def _replaced(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield where a step of the way is put into another object, by whatever name that has."""
    if not module.path.startswith(_OURS):
        return
    stored = [one for one in module.nodes(ast.Attribute) if not isinstance(one.ctx, ast.Load)]
    places: list[tuple[ast.expr, ast.expr, set[str]]]
    places = [(one, one.value, {one.attr}) for one in stored]
    for call in module.calls("setattr", "delattr", "__setattr__", "object"):
        if len(call.args) > 1:
            said = origins.within(call.args[1])
            texts = {str(one.value) for one in said if isinstance(one, ast.Constant)}
            places.append((call, call.args[0], texts))
    yield from _patched(module)
    for node, owner, names in places:
        if names & _WAY and last_name(owner) not in {"self", "cls"}:
            yield module.finding(node, EXISTS, f"{min(names & _WAY)} of another is replaced")


def _patched(module: Module) -> Iterator[Finding]:
    """Yield where a function takes the place of what another object or module does."""
    if module.path.startswith(INSIDE):
        return
    own = {one.name for one in module.functions()} - {one.arg for one in module.nodes(ast.arg)}
    given = [(t, t, one.value) for one in module.nodes(ast.Assign) for t in one.targets]
    for call in module.calls("setattr", "__setattr__"):
        if len(call.args) > 2 and isinstance(call.args[-2], ast.Constant):
            owner, name = call.args[-3], str(call.args[-2].value)
            given.append((call, ast.Attribute(owner, name, ast.Store()), call.args[-1]))
    for node, target, value in given:
        is_function = isinstance(value, ast.Lambda) or (
            isinstance(value, ast.Name) and value.id in own
        )
        if isinstance(target, ast.Attribute) and is_function:
            is_meant = target.attr.startswith("on_") or target.attr in _MEANT
            if not is_meant and last_name(target.value) not in {"self", "cls"}:
                yield module.finding(node, EXISTS, f"{target.attr} of another is replaced")


def _made(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield calls that make, derive or patch one."""
    is_ours = module.path.startswith(_OURS)
    is_route = any(name.endswith(".APIRouter") for _, name in imported(module))
    for call in module.nodes(ast.Call):
        name = origins.called(call.func)
        name = "ToolRunner" if _makes(origins, call) else name
        bases = call.args[1:2] if name in {"type", "new_class"} else []
        if any(origins.called(one) == "ToolRunner" for base in bases for one in ast.walk(base)):
            yield module.finding(call, EXISTS, "a class is derived from ToolRunner")
        owner = origins.called(call.func.value) if isinstance(call.func, ast.Attribute) else name
        if is_route and {name, owner} & _ONCE:
            sentence = f"a route makes a {min({name, owner} & _ONCE)} of its own"
            yield module.finding(call, EXISTS, sentence)
        if name == "ToolRunner" and (is_ours or is_route) and not module.path.startswith(_MAKERS):
            yield module.finding(call, EXISTS, "a second ToolRunner; the backend makes the one")
        is_its = bool(call.args) and _is_runner(call.args[0])
        if is_its and name in {"copy", "deepcopy", "replace"}:
            yield module.finding(call, EXISTS, "a second ToolRunner: a copy of the one")
        if is_its and (
            name == "vars" or (name in {"setattr", "delattr", "object"} and len(call.args) > 1)
        ):
            yield module.finding(call, EXISTS, "ToolRunner is patched")


def _makes(origins: Origins, call: ast.Call) -> bool:
    """Tell whether a call makes a ToolRunner by another name, or by the class of one."""
    function = call.func
    if isinstance(function, ast.Call):
        given = function.args[:1]
        return last_name(function) == "type" and len(function.args) == 1 and _is_runner(given[0])
    if isinstance(function, ast.Attribute) and function.attr in {"__class__", "__new__"}:
        return _is_runner(function.value)
    named = [one for one in origins.sources(function) if isinstance(one, ast.Name | ast.Attribute)]
    return any(origins.called(one) == "ToolRunner" for one in named)


def _is_runner(node: ast.expr) -> bool:
    return words(last_name(node))[-2:] in (["tool", "runner"], ["toolrunner"])


def _sandbox(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield calls of the sandbox itself; in its own package they are its business."""
    if module.path.startswith("sandbox/"):
        return
    for attribute in module.nodes(ast.Attribute):
        is_box = origins.is_of(attribute.value, "Sandbox") or any(
            last_name(one) in {"Sandbox", "build_sandbox"}
            for one in origins.sources(attribute.value)
        )
        if attribute.attr == "call" and is_box:
            yield module.finding(attribute, EXISTS, "the sandbox is called past ToolRunner.run")


def _bypasses(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield other records of a call than ToolRunner's, and changes of the registry's counts."""
    if module.defines("PluginRegistry"):
        return
    for function in module.functions():
        if function.name == UPDATE:
            yield module.finding(function, METRICS, f"a second {UPDATE}")
    for attribute in module.nodes(ast.Attribute):
        if attribute.attr == UPDATE and not isinstance(attribute.value, ast.Call):
            sentence = "only ToolRunner.run records a call, and nothing replaces how"
            yield module.finding(attribute, METRICS, sentence)
        is_private = attribute.attr.startswith("_") and not attribute.attr.startswith("__")
        is_registry = words(last_name(attribute.value))[-1:] == ["registry"]
        if is_private and (
            is_registry or (attribute.attr == "_entries" and origins.is_plugin(attribute.value))
        ):
            yield module.finding(attribute, METRICS, "the registry's own counts are reached for")
    for call, texts in _by_text(module):
        if UPDATE in texts:
            yield module.finding(call, METRICS, "only ToolRunner.run records a call")
        parts = {part for text in texts for part in text.split(".")}
        if "_entries" in parts:
            yield module.finding(call, METRICS, "the registry's own counts are reached for")


def _states(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield where the product changes a plugin's state elsewhere."""
    if module.defines("PluginRegistry") or not module.path.startswith(_OURS):
        return
    named = [(one, {one.attr}) for one in module.nodes(ast.Attribute)]
    for node, texts in (*named, *_by_text(module)):
        is_other = isinstance(node, ast.Attribute) and origins.is_own(node.value, node.attr)
        if texts & _MARKS and not is_other:
            yield module.finding(node, METRICS, "a plugin's state is ToolRunner's to change")
    if module.path.startswith("runner/registry/"):
        return
    for source, name in imported(module):
        if name.endswith(".plugin_state.Entry"):
            yield module.finding(source, METRICS, "what holds a plugin's counts is the registry's")
    for attribute in module.nodes(ast.Attribute):
        is_counting = any(origins.is_of(attribute.value, one) for one in _COUNTS)
        if attribute.attr in _COUNTING and is_counting:
            yield module.finding(attribute, METRICS, "calls are counted by the registry alone")


def _by_text(module: Module) -> Iterator[tuple[ast.expr, set[str]]]:
    """Yield calls that take or set an attribute by a text, and the texts in them."""
    for call in module.calls("getattr", "setattr", "methodcaller", "attrgetter"):
        yield call, {str(one.value) for one in call.args if isinstance(one, ast.Constant)}
