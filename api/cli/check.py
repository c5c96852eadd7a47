"""Checks a plugin for ``plugins check``: is it one, does it load, does it answer, how fast.

Called by ``commands``. The plugin is only ever run as every plugin is: through ToolRunner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolrunner.api.cli.advice import advise, memory_to_set
from toolrunner.api.cli.calls import Done
from toolrunner.api.cli.exits import Exit, Refused, exit_of
from toolrunner.api.cli.measuring import Answer, Bench, Measured, measure, memory_needed_mb
from toolrunner.api.cli.session import Session
from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import Broken, Plugin
from toolrunner.plugins.errors import shown
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.samples import sample_payload
from toolrunner.runner.start_mode import Start

_WHILE_LOADING = " while loading"

_WHAT_TO_DO = {
    ErrorType.PLUGIN_LOAD_ERROR: "mend what happens at import: --debug shows the traceback",
    ErrorType.EXECUTION_ERROR: "mend run(): --debug shows the traceback; for input that you "
    "cannot take, raise an exception of a class named InvalidInput",
    ErrorType.OUTPUT_VALIDATION_ERROR: "return a dict of what JSON can carry",
    ErrorType.SANDBOX_ERROR: "see `toolrunner doctor`",
    ErrorType.TIME_LIMIT_EXCEEDED: "make it faster, or raise limits.wall_seconds in its manifest",
    ErrorType.CPU_LIMIT_EXCEEDED: "make it faster, or raise limits.cpu_seconds in its manifest",
    ErrorType.MEMORY_LIMIT_EXCEEDED: "use less, or raise limits.memory_mb in its manifest",
    ErrorType.PROCESS_LIMIT_EXCEEDED: "start fewer, or raise limits.processes and limits.threads",
    ErrorType.DISK_LIMIT_EXCEEDED: "write less, or raise limits.scratch_mb in its manifest",
    ErrorType.OUTPUT_LIMIT_EXCEEDED: "return less, or raise limits.output_mb in its manifest",
    ErrorType.PLUGIN_CRASHED: "see what it printed last; native code may be at fault",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at. ``advice`` says what to do when it is not ``ok``."""

    name: str
    ok: bool
    detail: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found out about one plugin.

    ``start``: how its calls start; ``measured`` and ``advice``: of one whose call succeeded.
    """

    plugin: str
    path: str
    steps: tuple[Step, ...]
    status: Exit
    notes: tuple[str, ...] = ()
    done: Done | None = None
    start: Start | None = None
    measured: Measured | None = None
    advice: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        error = self.done.envelope["error"] if self.done and self.done.envelope else None
        return {
            "plugin": self.plugin,
            "path": self.path,
            "ok": self.status is Exit.DONE,
            "start": None if self.start is None else asdict(self.start),
            "steps": [asdict(step) for step in self.steps],
            "notes": list(self.notes),
            "measured": None if self.measured is None else self.measured.document(),
            "advice": list(self.advice),
            "error": error,
        }


def check(session: Session, path: str) -> Iterator[Report]:
    """Check the plugin at a path, or each one in a folder; DiscoveryError when there is none."""
    found, broken = discovery.discover((path,), bundled=False)
    elsewhere = set(discovery.discover((), bundled=False)[1])
    here = [plugin for plugin in broken if plugin not in elsewhere]
    if not found and not here:
        message = (
            f"{shown(path)}: there is no plugin in this folder; "
            "`toolrunner plugins new NAME` writes one"
        )
        raise Refused(message)
    for bad in here:
        yield _broken(bad)
    for plugin in found:
        yield _checked(session, plugin)


def _broken(plugin: Broken) -> Report:
    is_manifest = plugin.reason.startswith("ManifestError")
    kind, _, words = plugin.reason.partition(": ")
    steps: tuple[Step, ...]
    if is_manifest:
        steps = (Step("manifest", False, words, "correct the manifest"),)
    else:
        steps = (
            Step("manifest", True, "is as it has to be"),
            Step("requirements", False, f"{kind}: {words}", "install what is missing"),
        )
    path = shown(plugin.path) if plugin.path is not None else ""
    return Report(plugin.name, path, steps, Exit.PLUGIN)


def _checked(session: Session, plugin: Plugin) -> Report:
    manifest = plugin.manifest
    steps = [
        Step("manifest", True, f"{plugin.name} {manifest.version}".rstrip()),
        Step("requirements", True, ", ".join(manifest.dependencies) or "nothing but Python"),
    ]
    notes = _name_notes(session, plugin)
    payload, about = sample_payload(manifest)
    if payload is None:
        notes.append(f"{about}, so it was not run; try `toolrunner analyze` on a file of yours")
        return Report(plugin.name, shown(plugin.path), tuple(steps), Exit.DONE, tuple(notes))
    with Bench(plugin, session.settings, payload) as bench:
        return _run(
            session,
            plugin,
            bench,
            Report(plugin.name, shown(plugin.path), tuple(steps), Exit.DONE, tuple(notes)),
            about,
        )


def _name_notes(session: Session, plugin: Plugin) -> list[str]:
    """Say it when another plugin has the name: used together, neither would run."""
    others, _ = discovery.discover(
        (*session.shared.plugins, *session.settings.plugins),
        allow_installed=session.settings.allow_installed,
    )
    return [
        f"the name {plugin.name} is taken by {shown(other.path)}: choose another one"
        for other in others
        if other.name == plugin.name and not _is_same(other.path, plugin.path)
    ]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _run(session: Session, plugin: Plugin, bench: Bench, report: Report, about: str) -> Report:
    """Return the report with what running the plugin tells."""
    manifest, caps = plugin.manifest, session.settings.caps
    own = bench.runner()
    try:
        start = bench.start(own)
    except GovernedError as error:
        start = Start("failed", (error.message,))
    answer = bench.call(own)
    status, steps, notes = _judge(answer, about)
    done = Done(plugin.name, None, answer.call, answer.result, answer.envelope)
    report = replace(
        report,
        steps=(*report.steps, *steps),
        status=status,
        notes=(*report.notes, *notes),
        done=done,
        start=start,
    )
    if answer.envelope is not None:
        is_memory = answer.envelope["error"]["type"] == ErrorType.MEMORY_LIMIT_EXCEEDED
        needed = memory_needed_mb(bench, plugin, caps) if is_memory else None
        words = (
            f"set memory_mb to {memory_to_set(needed or 0)}: it held {needed:.0f} MiB"
            if needed
            else ""
        )
        return replace(report, advice=(words,) if words else ())
    limit_mb = manifest.limits.capped(caps).memory_mb
    measured = measure(bench, own, start, limit_mb)
    return replace(report, measured=measured, advice=advise(manifest, start, measured))


def _judge(done: Answer, about: str) -> tuple[Exit, list[Step], list[str]]:
    """Return the exit status, the steps of the run, and notes."""
    confined = Step("sandbox", True, f"{len(done.call.isolation.layers)} layers")
    loads = Step("loads", True, "in the sandbox")
    if done.envelope is None:
        took = f"{done.ms:.0f} ms, {done.call.usage.wall_ms} of them in run"
        runs = Step("runs", True, f"on {about}: {took}")
        returns = Step("returns", True, "a JSON object")
        return Exit.DONE, [confined, loads, runs, returns], []
    error = done.envelope["error"]
    details = error["details"]
    error_type = next(known for known in ErrorType if known == error["type"])
    if error_type is ErrorType.VALIDATION_ERROR:
        if details.get("exception") == "InvalidInput":
            runs = Step("runs", True, f"on {about}: it answers InvalidInput")
            note = f"it does not take {about} ({error['message']}); try it on input of your own"
            return Exit.DONE, [confined, loads, runs], [note]
        advice = "give input_schema an example that fits: examples = [{ ... }]"
        refused = Step("runs", False, f"{about} is refused: {error['message']}", advice)
        return Exit.PLUGIN, [refused], []
    failed = _failing_step(error_type, error["message"])
    advice = _WHAT_TO_DO.get(error_type, "")
    if error_type is ErrorType.EXECUTION_ERROR and about.startswith("an empty object"):
        advice = "if it needs more than {}, give input_schema an example: examples = [{ ... }]"
    step = Step(failed, False, f"{error_type}: {error['message']}", advice)
    before: dict[str, list[Step]] = {"sandbox": [], "loads": [confined]}
    ran = Step("runs", True, f"on {about}")
    before["runs"] = [confined, loads]
    before["returns"] = [confined, loads, ran]
    return exit_of(done.envelope), [*before[failed], step], []


def _failing_step(error_type: ErrorType, message: str) -> str:
    if error_type.blame.value == "host" or error_type is ErrorType.PLUGIN_UNAVAILABLE:
        return "sandbox"
    if error_type is ErrorType.PLUGIN_LOAD_ERROR or message.endswith(_WHILE_LOADING):
        return "loads"
    if error_type is ErrorType.OUTPUT_VALIDATION_ERROR:
        return "returns"
    return "runs"
