"""One fault, run as any plugin is, and what must hold after each call, whatever it does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import psutil

from toolrunner.api.attack.host_memory import Measure, allowed_bytes, measuring
from toolrunner.api.attack.surroundings import surroundings
from toolrunner.plugins.corpus import HARMLESS, Fault
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.envelope import GovernedErrorBody
from toolrunner.runner.errors import Blame, ErrorType
from toolrunner.runner.registry.registry import PluginRegistry, PluginStatus
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import ToolRunner
from toolrunner.sandbox.ending import Replaced
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB

GRACE_MS = 300  # from a limit's end to the caller's answer, its being asked where it was among them
_DONE = "done"
_TRIES = 5  # others use the host as well: a loss is the fault's if it comes each time


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call of a fault came to: ``result`` or ``error``, as ``ToolRunner.run`` gives them.

    ``harm``: what it did to others, or left behind. ``cost``: what it cost the service beyond its
    own call. Both are sentences, and empty when all is well.
    """

    variant: str
    result: dict[str, Any] | None
    error: GovernedErrorBody | None
    harm: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()

    @property
    def attempts(self) -> dict[str, tuple[str, str]]:
        """The attempts of an attack: "done" or "denied", with a detail."""
        return {
            name: tuple(found) for name, found in (self.result or {}).get("attempts", {}).items()
        }

    @property
    def done(self) -> tuple[str, ...]:
        """The attempts that succeeded."""
        return tuple(name for name, (outcome, _) in self.attempts.items() if outcome == _DONE)


class _Trial:
    """The calls of one fault, in one runner."""

    def __init__(self, tool_runner: ToolRunner, fault: Plugin, next_one: Plugin) -> None:
        self._tool_runner = tool_runner
        self._registry = tool_runner.registry
        self._analysis = analysis_of(tool_runner)
        self._fault = fault
        self._next_one = next_one
        self._calls = 0

    def measured_call(self, variant: str, payload: dict[str, Any], measure: Measure) -> Answer:
        """Call the fault; say so when the host lost more by it than its limits explain.

        Memory, or time: the answer came later than the plugin's own limits allow.
        """
        limits = self._fault.manifest.limits
        most_bytes = allowed_bytes(limits)
        most_ms = (limits.wall_seconds + limits.load_seconds) * 1000 + GRACE_MS
        lost, took = [], []
        for _ in range(_TRIES):
            with measure() as loss:
                answer = self.call(variant, payload)
            lost.append(loss.most)
            took.append(self._status(self._fault).last_execution_time_ms or 0.0)
            if lost[-1] <= most_bytes and took[-1] <= most_ms:
                return answer
        if min(lost) > most_bytes:
            harm = f"the host lost {min(lost) // MIB} MiB, and {most_bytes // MIB} are allowed"
            return replace(answer, harm=(harm,))
        if min(took) > most_ms:
            late = f"it was answered after {min(took):.0f} ms, and {most_ms:.0f} are allowed"
            return replace(answer, cost=(*answer.cost, late))
        return answer

    def call(self, variant: str, payload: dict[str, Any]) -> Answer:
        """Call the fault, then the harmless plugin."""
        self._calls += 1
        _, failed = self._residents()
        call = Call()
        result, envelope = self._analysis.analyze(self._fault.name, payload, call=call)
        error = envelope["error"] if envelope is not None else None
        cost = []
        if error is not None and ErrorType(error["type"]).blame is Blame.HOST:  # type: ignore[call-arg]  # an enum's look-up by value
            cost.append(f"the host was blamed: {error['type']}: {error['message']}")
        if error is not None and call.isolation.mode == "resident" and not call.cancelled:
            serves_on = self._residents() == (1, failed)
            cost += ["the process of a call that failed serves on"] * serves_on
        cost += [*self._next_call(), *self._books()]
        return Answer(variant, result, error, cost=tuple(cost))

    def _residents(self) -> tuple[int, int]:
        """Return how many there are of the fault, and how many have gone since a call failed."""
        figures = self._tool_runner.residents().get(self._fault.name)
        return (figures.processes, figures.replaced.get(Replaced.FAILED, 0)) if figures else (0, 0)

    def _status(self, plugin: Plugin) -> PluginStatus:
        status = self._registry.get_status(plugin.name)
        assert status is not None
        return status

    def _next_call(self) -> list[str]:
        answer = self._analysis.analyze(self._next_one.name, {})
        return [] if answer == ({"fine": True}, None) else [f"the next call failed: {answer[1]}"]

    def _books(self) -> list[str]:
        """Say so when the registry has not counted every call once."""
        for plugin in (self._fault, self._next_one):
            status = self._status(plugin)
            counted = status.success_count + status.error_count
            if (counted, status.in_flight) != (self._calls, 0):
                return [f"{counted} of {self._calls} calls counted, {status.in_flight} in flight"]
        return []


def run_fault(
    fault: Fault,
    settings: Settings,
    layers: Layers,
    *,
    start: Literal["auto", "cold", "resident"] = "auto",
    degraded: bool = False,
) -> list[Answer]:
    """Call a fault once for each of its variants; return the answers.

    ``degraded``: run although the layers are less than the floor.
    """
    if start == "resident":
        settings = settings.model_copy(update={"allow_resident": ("*",), "max_residents": 1})
    with surroundings() as around, measuring() as measure:
        plugins = [f.plugin(around.plugins, start=start) for f in (fault, HARMLESS)]
        registry = PluginRegistry()
        for plugin in plugins:
            registry.register(plugin.name, instance=plugin)
        before, descriptors = around.state(), psutil.Process().num_fds()
        sandbox = build_sandbox(settings, layers=layers, degraded=degraded)
        answers = []
        with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
            trial = _Trial(tool_runner, *plugins)
            for variant, payload in fault.payloads:
                answer = trial.measured_call(variant, {**around.payload, **payload}, measure)
                harm = (*answer.harm, *around.harm(before))
                answers.append(replace(answer, harm=harm))
        left = around.left()
        if psutil.Process().num_fds() != descriptors:
            left.append("it left descriptors of the runner open")
        around.end_processes()
    return [replace(answer, harm=(*answer.harm, *left)) for answer in answers]
