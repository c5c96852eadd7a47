"""ToolRunner.run: one choke point, its signature, its answer, its steps, its record."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from phase12.flow import Way, always, ends, own_nodes
from phase12.source import Finding, Function, Module, last_name

PATH = "runner/tool_runner.py"
EXISTS = "P12-TOOLRUNNER"
SIGNATURE = "P12-SIGNATURE"
PAIR = "P12-PAIR"
STEPS = "P12-STEPS"
METRICS = "P12-METRICS"
ESCAPE = "P12-ESCAPE"
ENVELOPE = "P12-ENVELOPE"

_METRICS = "update_execution_metrics"
_PARAMETERS = ["self", "plugin_name", "payload"]
_FOUR = ["plugin_name", "state", "elapsed_ms", "had_error"]

# What has to happen in the try, in this order, and the calls that are it.
_STEPS: tuple[tuple[str, frozenset[str]], ...] = (
    ("the look-up of the plugin", frozenset({"plugin"})),
    ("input validation", frozenset({"validate_input_payload", "validate_json_payload"})),
    ("the call in the sandbox", frozenset({"call"})),
    ("output validation", frozenset({"parse_result", "validate_plugin_output"})),
)


def check(module: Module) -> Iterator[Finding]:
    """Yield what is wrong with the choke point in its own file."""
    found = module.classes("ToolRunner")
    if not found:
        yield module.finding(module.tree, EXISTS, "class ToolRunner is missing")
        return
    for second in found[1:]:
        yield module.finding(second, EXISTS, "class ToolRunner is defined a second time")
    runs = [
        one
        for one in found[0].body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == "run"
    ]
    if not runs:
        yield module.finding(found[0], SIGNATURE, "ToolRunner has no method run")
        return
    for again in runs[1:]:
        yield module.finding(again, EXISTS, "ToolRunner.run is defined a second time")
    yield from _signature(module, runs[0])
    if isinstance(runs[0], ast.FunctionDef):
        yield from _Run(module, found[0], runs[0]).check()


def _signature(module: Module, run: Function) -> Iterator[Finding]:
    arguments = run.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if isinstance(run, ast.AsyncFunctionDef):
        yield module.finding(run, SIGNATURE, "ToolRunner.run is async; it has to be a plain method")
    if run.decorator_list:
        sentence = "ToolRunner.run is decorated; it has to be a plain method"
        yield module.finding(run, SIGNATURE, sentence)
    if [one.arg for one in positional[:3]] != _PARAMETERS:
        sentence = "ToolRunner.run() must accept (self, plugin_name, payload)"
        yield module.finding(run, SIGNATURE, sentence)
    required = len(positional) - len(arguments.defaults) > 3 or None in arguments.kw_defaults
    if required:
        sentence = "ToolRunner.run needs more than (plugin_name, payload)"
        yield module.finding(run, SIGNATURE, sentence)
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(run)):
        yield module.finding(run, SIGNATURE, "ToolRunner.run is a generator, not a plain method")


class _Run:
    """The body of ToolRunner.run, with the methods and functions of its file that it calls."""

    def __init__(self, module: Module, owner: ast.ClassDef, run: ast.FunctionDef) -> None:
        self._module = module
        self._run = run
        self._own: dict[str, Function] = {
            one.name: one
            for body in (module.tree.body, owner.body)
            for one in body
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one is not run
        }
        self._does: dict[tuple[str, str], bool] = {}

    def check(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        tries = [one for one in self._run.body if isinstance(one, ast.Try)]
        governed = next((one for one in tries if one.finalbody), None)
        if governed is None:
            sentence = "ToolRunner.run() must contain a finally block, of a try in its own body"
            yield self._found(self._run, METRICS, sentence)
            governed = tries[0] if tries else None
        else:
            yield from self._metrics(governed)
        yield from self._pairs()
        if governed is None:
            yield self._found(self._run, STEPS, "ToolRunner.run has no try for its steps")
            return
        yield from self._early(governed)
        yield from self._steps(governed)
        yield from self._escapes(governed)
        yield from self._bypasses()

    def _found(self, node: ast.AST, rule: str, sentence: str) -> Finding:
        return self._module.finding(node, rule, sentence)

    # The record

    def _metrics(self, governed: ast.Try) -> Iterator[Finding]:
        calls = [
            node
            for node in ast.walk(self._run)
            if isinstance(node, ast.Call) and last_name(node.func) == _METRICS
        ]
        direct = [
            (place, statement)
            for place, statement in enumerate(governed.finalbody)
            if isinstance(statement, ast.Expr) and statement.value in calls
        ]
        if not direct:
            where = "directly in the finally block of ToolRunner.run's try, not in a branch, a loop"
            sentence = f"{_METRICS}() has to be called {where}, a with or a nested function"
            yield self._found(calls[0] if calls else governed, METRICS, sentence)
            return
        place, statement = direct[0]
        assert isinstance(statement.value, ast.Call)
        yield from self._arguments(statement.value)
        for call in calls:
            if call is not statement.value:
                sentence = f"{_METRICS}() is called twice: every call is recorded exactly once"
                yield self._found(call, METRICS, sentence)
        for before in governed.finalbody[:place]:
            if _leaves(before):
                yield self._found(before, METRICS, f"this may leave before {_METRICS}() is called")
        for after in governed.finalbody[place + 1 :]:
            if _leaves(after):
                yield self._found(after, METRICS, "this replaces the answer after it was recorded")

    def _arguments(self, call: ast.Call) -> Iterator[Finding]:
        names = [keyword.arg for keyword in call.keywords]
        given: list[str | None] = [*_FOUR[: len(call.args)], *names]
        starred = any(isinstance(one, ast.Starred) for one in call.args)
        if starred or len(call.args) > 4 or sorted(map(str, given)) != sorted(_FOUR):
            sentence = f"{_METRICS}() has to be given all four: {', '.join(_FOUR)}"
            yield self._found(call, METRICS, sentence)
        if not (isinstance(call.func, ast.Attribute) and last_name(call.func.value) == "registry"):
            yield self._found(call, METRICS, f"{_METRICS}() has to be the registry's own")
        for value in [*call.args, *(keyword.value for keyword in call.keywords)]:
            if isinstance(value, ast.Constant):
                sentence = f"{_METRICS}() is given the constant {value.value!r}, whatever happened"
                yield self._found(value, METRICS, sentence)

    def _early(self, governed: ast.Try) -> Iterator[Finding]:
        for statement in self._run.body[: self._run.body.index(governed)]:
            if _leaves(statement):
                yield self._found(statement, METRICS, "this leaves ToolRunner.run unrecorded")

    # The answer

    def _pairs(self) -> Iterator[Finding]:
        for node in own_nodes(self._run):
            if isinstance(node, ast.Return) and not self._is_pair(node.value):
                sentence = "ToolRunner.run has to return (result, None) or (None, envelope)"
                yield self._found(node, PAIR, sentence)
        if not ends(self._run.body):
            yield self._found(self._run, PAIR, "ToolRunner.run can end without returning a pair")

    def _is_pair(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.IfExp):
            return self._is_pair(value.body) and self._is_pair(value.orelse)
        if isinstance(value, ast.Name):
            values = self._assigned(value.id)
            return bool(values) and all(self._is_pair(one) for one in values)
        if not isinstance(value, ast.Tuple) or len(value.elts) != 2:
            return False
        return sum(isinstance(one, ast.Constant) and one.value is None for one in value.elts) == 1

    def _assigned(self, name: str) -> list[ast.expr]:
        return [
            node.value
            for node in own_nodes(self._run)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value is not None
            and name in {last_name(one) for one in _targets(node)}
        ]

    # The steps

    def _performs(self, step: str, markers: frozenset[str]) -> Callable[[ast.Call], bool]:
        def is_it(call: ast.Call) -> bool:
            name = last_name(call.func)
            if name in markers and (name != "call" or _is_sandboxs(call)):
                return True
            own = self._own.get(name) if _is_own(call) else None
            if own is None:
                return False
            if (name, step) not in self._does:
                self._does[name, step] = False  # while it is looked at: recursion does not count
                self._does[name, step] = always(own, is_it)
            return self._does[name, step]

        return is_it

    def _steps(self, governed: ast.Try) -> Iterator[Finding]:
        places: list[int] = []
        for step, markers in _STEPS:
            performs = self._performs(step, markers)
            way = Way(performs)
            if way.through(governed.body) is False or way.left_without:
                sentence = f"{step} has to happen in the try of ToolRunner.run, on every way"
                yield self._found(governed, STEPS, sentence)
                continue
            places.append(
                next(
                    place
                    for place, one in enumerate(governed.body)
                    if Way(performs).through([one]) is not False
                )
            )
        if places != sorted(places):
            sentence = "the steps of ToolRunner.run are out of order: "
            sentence += "look-up, input validation, call, output validation"
            yield self._found(governed, STEPS, sentence)
        yield from self._unchecked(governed)

    def _unchecked(self, governed: ast.Try) -> Iterator[Finding]:
        """Yield a finding when what is sent, or returned, is not what validation gave."""
        checked = self._given_by(governed, self._performs(*_STEPS[1]))
        calls = self._performs(*_STEPS[2])
        answered = self._given_by(governed, self._performs(*_STEPS[3]))
        for node in own_nodes(governed):
            if checked and isinstance(node, ast.Call) and calls(node):
                given = {last_name(one) for one in node.args}
                if not given & checked or "payload" in given - checked:
                    sentence = "the sandbox is given another payload than the one that was checked"
                    yield self._found(node, STEPS, sentence)
        for node in own_nodes(self._run):
            if answered and isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                first = node.value.elts[0]
                if not isinstance(first, ast.Constant) and last_name(first) not in answered:
                    sentence = "the result is not the one that output validation gave"
                    yield self._found(node, STEPS, sentence)

    def _given_by(self, governed: ast.Try, performs: Callable[[ast.Call], bool]) -> set[str]:
        """Return the names that are given what a step returns."""
        return {
            last_name(target)
            for node in own_nodes(governed)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(node.value, ast.Call)
            and performs(node.value)
            for target in _targets(node)
        }

    def _bypasses(self) -> Iterator[Finding]:
        """Yield other ways than run to the sandbox: public ones that come to its call."""
        calls = self._reaches(*_STEPS[2])
        for name, function in self._own.items():
            is_public = not name.startswith("_") or name.endswith("__")
            for node in ast.walk(function):
                if is_public and isinstance(node, ast.Call) and calls(node):
                    sentence = f"{name} calls the sandbox past ToolRunner.run and what it checks"
                    yield self._found(node, STEPS, sentence)

    def _reaches(self, step: str, markers: frozenset[str]) -> Callable[[ast.Call], bool]:
        performs = self._performs(step, markers)
        reaching: set[str] = set()

        def is_it(call: ast.Call) -> bool:
            return performs(call) or (_is_own(call) and last_name(call.func) in reaching)

        for _ in self._own:
            reaching |= {
                name
                for name, function in self._own.items()
                if any(isinstance(one, ast.Call) and is_it(one) for one in ast.walk(function))
            }
        return is_it

    # What may not pass

    def _escapes(self, governed: ast.Try) -> Iterator[Finding]:
        if not any(_is_broad(one) for one in governed.handlers):
            sentence = "ToolRunner.run has to catch Exception: no raw exception may leave it"
            yield self._found(governed, ESCAPE, sentence)
        # What is raised in the try itself is caught by it, and its finally is the metrics' rule.
        outside: list[ast.AST] = [*governed.handlers, *governed.orelse]
        outside += [one for one in self._run.body if one is not governed]
        for part in outside:
            for node in [part, *own_nodes(part)]:
                if isinstance(node, ast.Raise):
                    yield self._found(node, ESCAPE, "an exception leaves ToolRunner.run here")
        builds = self._performs("the envelope", frozenset({"build_error_envelope"}))
        for node in own_nodes(self._run):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                yield from self._error(node.value, builds)

    def _error(self, pair: ast.Tuple, builds: Callable[[ast.Call], bool]) -> Iterator[Finding]:
        if len(pair.elts) != 2:
            return
        error = pair.elts[1]
        values = self._assigned(error.id) if isinstance(error, ast.Name) else [error]
        for value in values:
            if isinstance(value, ast.Constant) and value.value is None:
                continue
            if not (isinstance(value, ast.Call) and builds(value)):
                sentence = "the error of ToolRunner.run has to be made by build_error_envelope"
                yield self._found(value, ENVELOPE, sentence)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _is_own(call: ast.Call) -> bool:
    """Tell whether a call is of ``self.name`` or of a function of the file."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return isinstance(function.value, ast.Name) and function.value.id in {"self", "ToolRunner"}
    return isinstance(function, ast.Name)


def _is_sandboxs(call: ast.Call) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and last_name(function.value) == "_sandbox"


def _leaves(statement: ast.stmt) -> bool:
    leaving = ast.Return | ast.Raise | ast.Break | ast.Continue
    return isinstance(statement, leaving) or any(
        isinstance(node, leaving) for node in own_nodes(statement)
    )


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(last_name(one) in {"Exception", "BaseException"} for one in types)
