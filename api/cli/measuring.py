"""Measures a plugin for ``plugins check``: what its calls take in each mode, and what they hold.

Called by ``check`` once a call has succeeded. What cannot be measured is told with its reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from toolrunner.api.cli.bench import MEASURING_SECONDS, MODE_SECONDS, Bench, NotTakenError
from toolrunner.api.cli.examined import Examined, examined
from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import ToolRunner
from toolrunner.sandbox.limits import MIB

_GAIN_MS, _GAIN = 5.0, 0.25  # of a first call: less is no matter
_MORE_MEMORY = (4, 16)  # times the limit, as far as the caps allow it

T = TypeVar("T")

# Whether these are met may depend on how the call has started.
_PERHAPS_BY_START = frozenset(
    {
        ErrorType.PLUGIN_LOAD_ERROR,
        ErrorType.TIME_LIMIT_EXCEEDED,
        ErrorType.CPU_LIMIT_EXCEEDED,
        ErrorType.PROCESS_LIMIT_EXCEEDED,
        ErrorType.PLUGIN_CRASHED,
        ErrorType.PROTOCOL_ERROR,
        ErrorType.EXECUTION_ERROR,
    }
)


@dataclass(frozen=True, slots=True)
class Missed:
    """A measure that was not taken. ``by_call``: since a call failed, or did not come to an end."""

    what: str
    why: str
    by_call: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found out; all of it is a plugin's to change, and some of it its own word.

    ``p50_ms`` by mode, of those that it can start in: as its manifest says, or would with the
    ``start`` that has the mode's name. ``warmed_up_ms``: the p50 as it would be with
    ``warm_up = true``. ``peak_memory_mb``: the most that one of the calls has held. ``missed``:
    what could not be measured.
    """

    p50_ms: Mapping[str, float] = field(default_factory=dict)
    warmed_up_ms: float | None = None
    peak_memory_mb: float = 0.0
    memory_mb: int = 0
    examined: Examined | None = None
    missed: tuple[Missed, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        within = None if self.examined is None else self.examined.model_dump(mode="json")
        return {**asdict(replace(self, examined=None)), "examined": within}


def measure(
    bench: Bench, own: ToolRunner, start: Start, limit_mb: int, first_ms: float = 0.0
) -> Measured:
    """Measure a plugin whose calls succeed, and ``start`` as told in its ``own`` runner.

    ``first_ms``: what its first call there took, which is measure enough of a slow one.
    """
    p50: dict[str, float] = {}
    if first_ms > MODE_SECONDS * 1000:
        p50[start.mode] = round(first_ms, 1)
    missed: list[Missed] = []

    def taken(what: str, take: Callable[[], T]) -> T | None:
        try:
            return take()
        except NotTakenError as error:
            if _kinds(str(error)) != _kinds("; ".join(start.reasons)):  # which is told already
                missed.append(Missed(what, str(error), error.by_call))
            return None

    def p50_of(mode: str) -> float:
        return bench.p50_ms(own if mode == start.mode else bench.started(mode), mode)

    found = taken("imports and a second call", lambda: examine(bench))
    for mode in dict.fromkeys((start.mode, *bench.modes)):
        if mode in p50:
            continue
        ms = taken(f"{mode} calls", lambda mode=mode: p50_of(mode))  # type: ignore[misc]  # a mode
        if ms is not None:
            p50[mode] = ms
    warmed_up = None
    mode = "warm" if "warm" in p50 else "resident"
    if found is not None and gains_by_warming_up(found) and mode in p50 and bench.can_rehearse:
        warmed_up = taken(
            "warm_up = true", lambda: bench.p50_ms(bench.started(mode, warm_up=True), mode)
        )
    peak = round(bench.peak_bytes / MIB, 1)
    return Measured(p50, warmed_up, peak, limit_mb, found, tuple(missed))


def _kinds(reasons: str) -> list[str]:
    """Return reasons without what they are about, which has another name in each box."""
    return [reason.partition(" (")[0] for reason in reasons.split("; ")]


def examine(bench: Bench) -> Examined | None:
    """Load the plugin and call it twice in one process, which tells what that took.

    ``None`` for a program, which imports nothing and is started anew for each.
    """
    if bench.is_program:
        return None
    answer = bench.trial(bench.examiner(), "cold", calls=2)
    found = examined(answer.result)
    if found is None:
        raise NotTakenError("what its process tells of itself is of no known shape")
    return found


def gains_by_warming_up(found: Examined) -> bool:
    """Tell whether a first call takes so much longer than the next one that it is worth a line."""
    gain = found.first_ms - found.second_ms
    return not found.has_warm_up and gain > max(_GAIN_MS, found.first_ms * _GAIN)


@dataclass(frozen=True, slots=True)
class Tried:
    """What helped a plugin whose call had failed: with more memory, or started otherwise.

    ``memory_mb``: what it then held. ``too_little_mb``: the most that did not help.
    """

    memory_mb: float | None = None
    too_little_mb: int = 0
    p50_ms: Mapping[str, float] = field(default_factory=dict)


def after_failure(
    bench: Bench, plugin: Plugin, caps: Mapping[str, float], start: Start, error_type: str
) -> Tried:
    """Try a plugin whose call has failed with more memory, or started in other ways."""
    if error_type == ErrorType.MEMORY_LIMIT_EXCEEDED:
        return _with_more_memory(bench, plugin, caps)
    p50: dict[str, float] = {}
    if start.mode == "cold" or error_type not in _PERHAPS_BY_START:
        return Tried()
    with contextlib.suppress(NotTakenError):
        p50["cold"] = bench.trial(bench.runner(start="cold"), "cold").ms
        if start.mode == "warm" and not bench.is_program:
            p50["resident"] = bench.p50_ms(bench.started("resident"), "resident")
    return Tried(p50_ms=p50)


def _with_more_memory(bench: Bench, plugin: Plugin, caps: Mapping[str, float]) -> Tried:
    """Try larger limits within the caps, until one is enough."""
    limits, most = plugin.manifest.limits, 0
    for times in _MORE_MEMORY:
        more = replace(limits, memory_mb=limits.memory_mb * times).capped(caps)
        if more.memory_mb <= max(most, limits.memory_mb) or not bench.has_time:
            break
        bench.peak_bytes = 0
        answer = bench.call(bench.runner(limits=more, start="cold"), MEASURING_SECONDS)
        if answer.envelope is None:
            return Tried(memory_mb=bench.peak_bytes / MIB)
        if answer.envelope["error"]["type"] != ErrorType.MEMORY_LIMIT_EXCEEDED:
            break
        most = more.memory_mb
    return Tried(too_little_mb=most)
