"""The way of a call: AnalysisService, JobManagementService, PluginManagementService, ToolRunner.

Each step is the next one's above it, and nobody stands between with a try/except.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from phase12.imports import imported
from phase12.origins import Origins
from phase12.source import FUNCTIONS, Finding, Function, Module, Sources, last_name, words

SERVICES = "P12-SERVICES"
TRY_AROUND = "P12-TRY-AROUND"
# Each step of the way, and the service that takes it.
STEPS = {
    "run_job": "AnalysisService",
    "create_job": "AnalysisService",
    "execute_plugin": "JobManagementService",
    "run": "PluginManagementService",
}
# Each service, what it has to call, and what is below that.
CHAIN = {
    "AnalysisService": ({"run_job"}, {"PluginManagementService", "ToolRunner"}),
    "JobManagementService": ({"execute_plugin"}, {"ToolRunner"}),
    "PluginManagementService": ({"run", "arun"}, set[str]()),
}
_QUIET = {"run", "run_job", "execute_plugin", "analyze"}  # these raise nothing
_RUNS = {"run", "arun", "map", "amap"}
_PRIVATE = {"_tool_runner", "_sandbox", "_jobs", "_plugins", "_dispatcher", "_store"}
# What finds an object that nobody has handed over.
_FINDING = {"get_objects", "get_referrers", "get_referents", "_getframe", "_current_frames",
            "currentframe", "f_locals", "f_back"}  # fmt: skip
# Programs beside the product, and what others' tests call: applications of their own.
_APPLICATIONS = ("scripts/", "toolrunner/")
# These end a program or a task, and are no error of a call.
_ENDS = {"KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError"}


def missing(sources: Sources) -> Iterator[Finding]:
    """Yield the services that a project with a ToolRunner does not have."""
    for name in CHAIN:
        if sources.homes("ToolRunner") and not sources.homes(name):
            yield Finding("runner/services", 1, SERVICES, f"there is no class {name}")


def check(module: Module, origins: Origins, there: frozenset[str]) -> Iterator[Finding]:
    """Yield where a module leaves the way; ``there`` are the services of the project."""
    for owner in module.nodes(ast.ClassDef):
        if owner.name in CHAIN:
            yield from _service(module, owner)
    if module.path.startswith(_APPLICATIONS):
        return
    for attribute in module.nodes(ast.Attribute):
        yield from _taken(module, origins, attribute, there)
    yield from _by_text(module)


def _by_text(module: Module) -> Iterator[Finding]:
    """Yield what is reached by a text, or past all methods."""
    for call in module.calls("getattr", "methodcaller", "attrgetter"):
        said = [one for whole in call.args for one in ast.walk(whole)]
        for text in [one.value for one in said if isinstance(one, ast.Constant)]:
            is_ours = module.defines(STEPS.get(str(text), ""))
            if text in {*STEPS, *_PRIVATE} - {"run"} and not is_ours:
                yield module.finding(call, SERVICES, f"{text} is taken by its name, as text")
    if not module.path.startswith(("api/", "runner/", "plugins/")):
        return
    found: list[tuple[ast.AST, str]] = [(one, one.attr) for one in module.nodes(ast.Attribute)]
    found += [(one, one.name) for one in module.nodes(ast.alias)]
    for one, name in found:
        if name in _FINDING:
            yield module.finding(one, SERVICES, "an object is looked for past whoever has it")
    for node in (*module.nodes(ast.Attribute), *module.calls("vars")):
        if _is_inside_out(node):
            yield module.finding(node, SERVICES, "an object is reached into past its methods")


def _is_inside_out(node: ast.expr) -> bool:
    """Tell whether all attributes of another object are taken at once."""
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__" and last_name(node.value) not in {"self", "cls"}
    return isinstance(node, ast.Call) and last_name((*node.args, None)[0]) not in {"self", "cls"}


def _taken(
    module: Module, origins: Origins, attribute: ast.Attribute, there: frozenset[str]
) -> Iterator[Finding]:
    step = _step(origins, attribute)
    taker = STEPS.get(step, "")
    if taker in there and not module.defines(taker) and isinstance(attribute.ctx, ast.Load):
        sentence = f"{attribute.attr} is for {taker} to call; a door calls AnalysisService"
        yield module.finding(attribute, SERVICES, sentence)
    elif attribute.attr in _PRIVATE and last_name(attribute.value) not in {"self", "cls"}:
        yield module.finding(attribute, SERVICES, f"{attribute.attr} of another is reached for")
    if step in _QUIET and _is_guarded(module, attribute):
        sentence = "a try/except around ToolRunner, which returns its errors and raises none"
        yield module.finding(attribute, TRY_AROUND, sentence)


def _service(module: Module, owner: ast.ClassDef) -> Iterator[Finding]:
    wanted, below = CHAIN[owner.name]
    if not wanted & {last_name(one.func) for one in ast.walk(owner) if isinstance(one, ast.Call)}:
        yield module.finding(owner, SERVICES, f"{owner.name} has to call {min(wanted)}")
    for call in [one for one in ast.walk(owner) if isinstance(one, ast.Call) and below]:
        if last_name(call.func) in {"run", "arun"} and call.args:
            sentence = f"{owner.name} runs something itself"
            yield module.finding(call, SERVICES, sentence)
    for node, name in imported(module):
        if name.rpartition(".")[2] in below:
            sentence = f"{owner.name} works with the one below it alone, not with {name}"
            yield module.finding(node, SERVICES, sentence)


def _step(origins: Origins, attribute: ast.Attribute) -> str:
    """Return which step of the way an attribute is; "" when it is none."""
    name, value = attribute.attr, attribute.value
    if name in {"run_job", "create_job", "execute_plugin"}:
        return name
    if name in _RUNS and origins.is_of(value, "ToolRunner"):
        return "run"
    said = words(last_name(value))[-1:]
    is_service = said in (["analysis"], ["service"]) or origins.is_of(value, "AnalysisService")
    return name if name in {"analyze", "submit"} and is_service else ""


def _is_guarded(
    module: Module, node: ast.AST, seen: frozenset[str] = frozenset(), *, may_raise: bool = False
) -> bool:
    """Tell whether exceptions of a call may end at an except or a suppress around it.

    Also around the functions of the file that make it, as they are called there. ``may_raise``:
    an except that raises what it has caught is none.
    """
    inner: ast.AST = node
    for outer in module.above(node):
        if isinstance(outer, FUNCTIONS):
            return isinstance(outer, Function) and _is_kept_for(module, outer, seen)
        caught: list[ast.expr | None] = []
        if isinstance(outer, ast.Try | ast.TryStar) and inner in outer.body:
            handlers = [one for one in outer.handlers if not (may_raise and _raises(one))]
            caught = [one.type for one in handlers]
        elif isinstance(outer, ast.With | ast.AsyncWith):
            contexts = [one.context_expr for one in outer.items]
            calls = [one for one in contexts if isinstance(one, ast.Call)]
            caught = [a for one in calls if last_name(one.func) == "suppress" for a in one.args]
            caught += [None for one in calls if _may_swallow(module, last_name(one.func))]
        if any(last_name(one) not in _ENDS for whole in caught for one in _parts(whole)):
            return True
        inner = outer
    return False


def _is_kept_for(module: Module, function: Function, seen: frozenset[str]) -> bool:
    """Tell whether what leaves a function ends at its decorator, or where the file calls it."""
    if function.name in seen:
        return False
    named = [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]
    if any(_may_swallow(module, last_name(one)) for one in named):
        return True
    is_method = isinstance(module.parents[function], ast.ClassDef)
    calls = [
        one
        for one in module.calls(function.name)
        if (last_name(getattr(one.func, "value", None)) in {"self", "cls"}) == is_method
    ]
    return any(_is_guarded(module, one, seen | {function.name}, may_raise=True) for one in calls)


def _raises(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


def _may_swallow(module: Module, name: str) -> bool:
    """Tell whether a context manager may keep exceptions to itself: a stack, or one made here."""
    for function in [one for one in module.functions() if one.name == name]:
        yields = [one for one in ast.walk(function) if isinstance(one, ast.Yield)]
        is_one = "contextmanager" in "".join(last_name(one) for one in function.decorator_list)
        if is_one and any(
            _is_guarded(module, one, frozenset({name}), may_raise=True) for one in yields
        ):
            return True
    ends = [
        one
        for owner in module.nodes(ast.ClassDef)
        for one in owner.body
        if owner.name == name and isinstance(one, Function) and one.name.endswith("exit__")
    ]
    returned = [r for one in ends for r in ast.walk(one) if isinstance(r, ast.Return) and r.value]
    is_quiet = any(ast.unparse(one.value) not in {"None", "False"} for one in returned if one.value)
    is_stack = name in {"ExitStack", "AsyncExitStack"}
    return is_quiet or (is_stack and bool(module.calls("push", "push_async_exit", "suppress")))


def _parts(caught: ast.expr | None) -> list[ast.expr | None]:
    return [*caught.elts] if isinstance(caught, ast.Tuple) else [caught]
