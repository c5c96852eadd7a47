"""Measures a plugin for ``plugins check``: what its calls take in each mode, and what they hold.

Called by ``check`` once a call has succeeded. All of it are calls like any other, through
ToolRunner and in the sandbox, a few in each mode, each within the plugin's own limits; after
``MEASURING_SECONDS`` nothing more is begun.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from toolrunner.api.cli.examined import Examined, examined
from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import ToolRunner, build_sandbox
from toolrunner.sandbox.limits import MIB

MEASURING_SECONDS = 10.0
_MODE_SECONDS = 2.0
_GAIN_MS, _GAIN = 5.0, 0.25  # of a first call: less is no matter
_CALLS = {"warm": 7, "resident": 7, "cold": 3}
_MORE_MEMORY = 4  # times the limit, as far as the caps allow it


@dataclass(frozen=True, slots=True)
class Answer:
    """One call: its result or its envelope, and how long its caller has waited."""

    result: Any
    envelope: Envelope | None
    call: Call
    ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found out; all of it is a plugin's to change, and some of it its own word.

    ``p50_ms`` by mode, of those that it can start in: as its manifest says, or would with the
    ``start`` that has the mode's name. ``warmed_up_ms``: the p50 as it would be with
    ``warm_up = true``. ``peak_memory_mb``: the most that one of the calls has held.
    """

    p50_ms: Mapping[str, float] = field(default_factory=dict)
    warmed_up_ms: float | None = None
    peak_memory_mb: float = 0.0
    memory_mb: int = 0
    examined: Examined | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        within = None if self.examined is None else self.examined.model_dump(mode="json")
        return {**asdict(replace(self, examined=None)), "examined": within}


class Bench:
    """Runs one plugin as it is and with other manifests, all in one sandbox. A context manager."""

    def __init__(self, plugin: Plugin, settings: Settings, payload: dict[str, Any]) -> None:
        self._plugin = plugin
        self._settings = settings
        self._payload = payload
        self._stack = ExitStack()
        self._sandbox = build_sandbox(settings)
        self._stack.callback(self._sandbox.close)
        self._end = time.monotonic() + MEASURING_SECONDS
        self.peak_bytes = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def runner(self, *, is_examined: bool = False, **manifest: object) -> ToolRunner:
        """Return a runner for the plugin, with some of its manifest changed."""
        settings = self._settings
        if manifest.get("start") == "resident":
            # For this measurement alone, in a process of the check's own.
            settings = settings.model_copy(update={"allow_resident": ("*",)})
        changed = self._plugin.manifest.model_copy(update=manifest)
        plugin = replace(self._plugin, manifest=changed, examined=is_examined)
        registry = PluginRegistry()
        registry.register(plugin.name, instance=plugin)
        return self._stack.enter_context(
            ToolRunner(registry, settings=settings, sandbox=self._sandbox)
        )

    def call(self, tool_runner: ToolRunner) -> Answer:
        """Run the plugin once."""
        call = Call()
        began = time.monotonic()
        result, envelope = analysis_of(tool_runner).analyze(
            self._plugin.name, self._payload, call=call
        )
        ms = (time.monotonic() - began) * 1000
        self.peak_bytes = max(self.peak_bytes, call.usage.peak_memory_bytes)
        return Answer(result, envelope, call, ms)

    def start(self, tool_runner: ToolRunner) -> Start:
        """Load the plugin, if there is time, and tell how its calls start."""
        return tool_runner.start(self._plugin.name) if self.has_time else Start("failed")

    @property
    def has_time(self) -> bool:
        """Whether another call may be begun."""
        return time.monotonic() < self._end

    def p50_ms(self, tool_runner: ToolRunner, mode: str) -> float | None:
        """Return the median of some calls; ``None`` if there was no time, or one has failed."""
        times: list[float] = []
        end = min(self._end, time.monotonic() + _MODE_SECONDS)
        while len(times) < _CALLS[mode] and time.monotonic() < end:
            answer = self.call(tool_runner)
            if answer.envelope is not None or answer.call.isolation.mode != mode:
                return None
            times.append(answer.ms)
        return round(statistics.median(times), 1) if times else None


def measure(bench: Bench, own: ToolRunner, start: Start, limit_mb: int) -> Measured:
    """Measure a plugin whose calls succeed, and ``start`` as told in its ``own`` runner."""
    found = examine(bench)
    p50: dict[str, float] = {}

    def add(mode: str, tool_runner: Callable[[], ToolRunner]) -> None:
        if bench.has_time and (ms := bench.p50_ms(tool_runner(), mode)) is not None:
            p50[mode] = ms

    add(start.mode, lambda: own)
    for mode in ("warm", "cold", "resident"):
        if mode in p50 or not bench.has_time:
            continue
        # Threads alone are what the author's word can do something about.
        other = bench.runner(start=mode)
        if mode == "cold" or bench.start(other).mode == mode:
            add(mode, lambda other=other: other)  # type: ignore[misc]  # one kind of runner
    warmed_up = None
    if found is not None and gains_by_warming_up(found):
        mode = "warm" if "warm" in p50 else "resident"
        rehearsed = bench.runner(start=mode, warm_up=True)
        if mode in p50 and bench.start(rehearsed).mode == mode:
            warmed_up = bench.p50_ms(rehearsed, mode)
    peak = round(bench.peak_bytes / MIB, 1)
    return Measured(p50, warmed_up, peak, limit_mb, found)


def examine(bench: Bench) -> Examined | None:
    """Load the plugin and call it twice in one process, which tells what that took."""
    if not bench.has_time:
        return None
    answer = bench.call(bench.runner(is_examined=True, start="cold"))
    return None if answer.envelope is not None else examined(answer.result)


def gains_by_warming_up(found: Examined) -> bool:
    """Tell whether a first call takes so much longer than the next one that it is worth a line."""
    gain = found.first_ms - found.second_ms
    return not found.has_warm_up and gain > max(_GAIN_MS, found.first_ms * _GAIN)


def memory_needed_mb(bench: Bench, plugin: Plugin, caps: Mapping[str, float]) -> float | None:
    """Return what a plugin holds that its limit ends, tried with a larger one within the caps."""
    limits = plugin.manifest.limits
    more = replace(limits, memory_mb=limits.memory_mb * _MORE_MEMORY).capped(caps)
    if more.memory_mb <= limits.memory_mb or not bench.has_time:
        return None
    bench.peak_bytes = 0
    answer = bench.call(bench.runner(limits=more, start="cold"))
    return bench.peak_bytes / MIB if answer.envelope is None else None
