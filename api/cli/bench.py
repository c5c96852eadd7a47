"""Runs a plugin for ``plugins check``, as it is and with other manifests, each call bounded.

Called by ``check`` and ``measuring``. All of it are calls like any other, through ToolRunner and in
the sandbox, each within the plugin's own limits. A trial that takes much longer than the first call
is withdrawn, and after ``MEASURING_SECONDS`` none is begun.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from toolrunner.api.cli.calls import refusal
from toolrunner.api.cli.console import FirstOfEach
from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import ErrorType, GovernedError, one_line
from toolrunner.runner.payloads.samples import rehearsal
from toolrunner.runner.program import logger_name
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import ToolRunner

MEASURING_SECONDS = 10.0
MODE_SECONDS = 2.0
# How long a trial may take: so many times the first call, and within these bounds.
_TRIAL, _LEAST_SECONDS, _MOST_SECONDS = 3.0, 3.0, 15.0
_CALLS = {"warm": 7, "resident": 7, "cold": 3}
_NO_TIME = f"no time was left: measuring takes {MEASURING_SECONDS:.0f} s at most"
_LONGEST_WHY = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """One call: its result or its envelope, and how long its caller has waited."""

    result: Any
    envelope: Envelope | None
    call: Call
    ms: float


class NotTakenError(Exception):
    """A measure cannot be taken; the text says why."""

    def __init__(self, why: str, *, by_call: bool = False) -> None:
        super().__init__(why)
        self.by_call = by_call


class Bench:
    """Runs one plugin as it is and with other manifests, all in one sandbox. A context manager."""

    def __init__(self, plugin: Plugin, settings: Settings, payload: dict[str, Any]) -> None:
        self._plugin = plugin
        self._settings = settings
        self._payload = payload
        self._stack = ExitStack()
        # One resident at a time: calls that are to be a batch find no other.
        self._sandbox = build_sandbox(settings.model_copy(update={"max_residents": 1}))
        self._stack.callback(self._sandbox.close)
        # It is called many times here, and would say the same each time.
        log, first = logging.getLogger(logger_name(plugin.manifest)), FirstOfEach()
        log.addFilter(first)
        self._stack.callback(log.removeFilter, first)
        self.begin(0.0)
        self.peak_bytes = 0

    @property
    def is_program(self) -> bool:
        """Whether the plugin is a program: each call starts it, so nothing of it can stay."""
        return bool(self._plugin.manifest.command)

    @property
    def can_rehearse(self) -> bool:
        """Whether ``warm_up = true`` has something to call it with, which is made here."""
        return bool(rehearsal(self._plugin.manifest))

    @property
    def modes(self) -> tuple[str, ...]:
        """In which ways its calls may start, whatever its manifest says."""
        return ("warm", "cold") if self.is_program else ("warm", "cold", "resident")

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, taken_seconds: float) -> None:
        """Let trials begin: what they are compared with has taken so long."""
        self._trial_seconds = min(_MOST_SECONDS, max(_LEAST_SECONDS, _TRIAL * taken_seconds))
        self._end = time.monotonic() + MEASURING_SECONDS - taken_seconds

    def runner(self, **manifest: object) -> ToolRunner:
        """Return a runner for the plugin, with some of its manifest changed."""
        return self._runner(manifest)

    def examiner(self) -> ToolRunner:
        """Return a runner whose calls tell what loading the plugin and calling it twice took."""
        return self._runner({"start": "cold"}, is_examined=True)

    def _runner(self, manifest: dict[str, object], *, is_examined: bool = False) -> ToolRunner:
        settings = self._settings
        if manifest.get("start") == "resident":
            # For this measurement alone, in a process of the check's own.
            settings = settings.model_copy(update={"allow_resident": ("*",), "max_batch": 64})
        changed = self._plugin.manifest.model_copy(update=manifest)
        plugin = replace(self._plugin, manifest=changed, examined=is_examined)
        registry = PluginRegistry()
        registry.register(plugin.name, instance=plugin)
        return self._stack.enter_context(
            ToolRunner(registry, settings=settings, sandbox=self._sandbox)
        )

    def call(self, tool_runner: ToolRunner, seconds: float | None = None) -> Answer:
        """Run the plugin once; withdraw the call after so many ``seconds``."""
        call = Call()
        timer = None if seconds is None else threading.Timer(seconds, call.cancel)
        began = time.monotonic()
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            result, envelope = analysis_of(tool_runner).analyze(
                self._plugin.name, self._payload, call=call
            )
        finally:
            if timer is not None:
                timer.cancel()
        ms = (time.monotonic() - began) * 1000
        self.peak_bytes = max(self.peak_bytes, call.usage.peak_memory_bytes)
        return Answer(result, envelope, call, ms)

    def first(self, tool_runner: ToolRunner, start: Start, seconds: float | None = None) -> Answer:
        """Run the plugin for the first time, as far as it could be loaded."""
        took_too_long = f"{ErrorType.PLUGIN_LOAD_ERROR}: took longer than "
        if start.mode != "failed" or not start.reasons[0].startswith(took_too_long):
            return self.call(tool_runner, seconds)
        # It would take as long once more.
        call, most = Call(), self._plugin.manifest.limits.capped(self._settings.caps).load_seconds
        details = {"limit": {"name": "load_seconds", "configured": most, "observed": most}}
        call.isolation = tool_runner.isolation()
        message = start.reasons[0].partition(": ")[2]
        error = GovernedError(ErrorType.PLUGIN_LOAD_ERROR, message, details)
        return Answer(None, refusal(self._plugin.name, call, error), call, 0.0)

    def trial(self, tool_runner: ToolRunner, mode: str, *, calls: int = 1) -> Answer:
        """Run the plugin once, for as long as so many calls may take; NotTakenError if it fails."""
        if not self.has_time:
            raise NotTakenError(_NO_TIME)
        seconds = self._trial_seconds * calls
        answer = self.call(tool_runner, seconds)
        if answer.envelope is not None:
            raise NotTakenError(_why(answer.envelope, seconds), by_call=True)
        started = answer.call.isolation.mode
        if started != mode:
            why = f"a call started {started} all the same: what was loaded for it has ended"
            raise NotTakenError(why, by_call=True)
        return answer

    def started(self, mode: str, **manifest: object) -> ToolRunner:
        """Return a runner in which the plugin's calls start so; NotTakenError if they cannot."""
        if not self.has_time:
            raise NotTakenError(_NO_TIME)
        limits = self._plugin.manifest.limits
        limits = replace(limits, load_seconds=min(limits.load_seconds, self._trial_seconds))
        other = self.runner(start=mode, limits=limits, **manifest)
        found = other.start(self._plugin.name)
        if found.mode != mode:
            raise NotTakenError("; ".join(found.reasons), by_call=found.mode == "failed")
        return other

    def batch_ms(self) -> float:
        """Give ``run_batch`` two payloads; return how long that took. NotTakenError if it fails."""
        two = self.started("resident", batch=2, batch_ms=1000)
        before = two.residents()[self._plugin.name].turns
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda _: self.trial(two, "resident"), range(2)))
        if two.residents()[self._plugin.name].turns != before + 1:
            raise NotTakenError("the calls did not come together")
        return max(answer.ms for answer in answers)

    @property
    def has_time(self) -> bool:
        """Whether another call may be begun."""
        return time.monotonic() < self._end

    def p50_ms(self, tool_runner: ToolRunner, mode: str) -> float:
        """Return the median of some calls; NotTakenError if one has failed."""
        times = [self.trial(tool_runner, mode).ms]
        end = min(self._end, time.monotonic() - times[0] / 1000 + MODE_SECONDS)
        while len(times) < _CALLS[mode] and time.monotonic() < end:
            times.append(self.trial(tool_runner, mode).ms)
        return round(statistics.median(times), 1)


def _why(envelope: Envelope, seconds: float) -> str:
    """Return in a line why a call failed that was to end after so many seconds."""
    error = envelope["error"]
    if error["type"] == ErrorType.CANCELLED:
        return f"a call did not answer within {seconds:.0f} s"
    return one_line(f"{error['type']}: {error['message']}")[:_LONGEST_WHY]
