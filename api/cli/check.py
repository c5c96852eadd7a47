"""Checks a plugin for ``plugins check``: is it one, does it load, does it answer, how fast.

Called by ``commands``. The plugin is only ever run as every plugin is: through ToolRunner.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolrunner.api.cli.advice import advise, advise_after_failure, advise_to_name, told_ms
from toolrunner.api.cli.bench import MEASURING_SECONDS, Answer, Bench, NotTakenError
from toolrunner.api.cli.calls import Done
from toolrunner.api.cli.exits import Exit, Refused, exit_of
from toolrunner.api.cli.measuring import Measured, after_failure, measure
from toolrunner.api.cli.own_samples import Sample, sample_of
from toolrunner.api.cli.remedies import CALLED_AGAIN, of_a_resident, sample, what_to_do
from toolrunner.api.cli.session import Session
from toolrunner.api.documents import absent_words, started
from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import Broken, Plugin
from toolrunner.plugins.errors import shown
from toolrunner.plugins.input_schema import misspelled
from toolrunner.plugins.manifest import Manifest
from toolrunner.plugins.requirements import unnamed
from toolrunner.runner.environments.choice import Choice, Environments
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.start_mode import Start
from toolrunner.runner.tool_runner import ToolRunner

_LONGEST_WORD = 64


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
    is_program: bool = False

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


def check(session: Session, path: str, samples: Sequence[str] = ()) -> Iterator[Report]:
    """Check the plugin at a path, or each one in a folder; DiscoveryError when there is none.

    ``samples``: files to call each with, instead of a sample that is found or made here.
    """
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
        yield _checked(session, plugin, sample_of(plugin, samples, session.settings))


def _broken(plugin: Broken) -> Report:
    words = plugin.reason.partition(": ")[2]
    steps = (Step("manifest", False, words, "correct the manifest"),)
    path = shown(plugin.path) if plugin.path is not None else ""
    return Report(plugin.name, path, steps, Exit.PLUGIN)


def _checked(session: Session, plugin: Plugin, sample: Sample) -> Report:
    manifest = plugin.manifest
    steps = [Step("manifest", True, f"{plugin.name} {manifest.version}".rstrip())]
    choice = Environments(session.settings.state).choose(plugin)
    if choice.reason:
        steps.append(_unmet(choice))
        return Report(plugin.name, shown(plugin.path), tuple(steps), Exit.PLUGIN)
    needs = ", ".join(manifest.dependencies) or "nothing but Python"
    if manifest.command:
        needs = f"the program {manifest.command[0]}"
    where = " (in its own environment)" if choice.kind == "own" else ""
    steps.append(Step("requirements", True, f"{needs}{where}"))
    taken = _taken_name(session, plugin)
    steps += taken
    notes = [
        *_name_notes(session, plugin),
        *_schema_notes(manifest),
        *absent_words(manifest, session.settings),
    ]
    with Bench(plugin, session.settings, sample.payload) as bench:
        report = Report(plugin.name, shown(plugin.path), tuple(steps), Exit.DONE, tuple(notes))
        report = replace(report, is_program=bench.is_program)
        if sample.is_made_up:
            report = _load(plugin, bench, report, sample)
        else:
            report = _run(session, plugin, bench, report, sample)
    found = None if report.measured is None else report.measured.examined
    if found is not None and choice.kind == "runner":
        named = advise_to_name(manifest, unnamed(manifest, found.libraries))
        report = replace(report, advice=(*named, *report.advice))
    if taken:
        return replace(report, status=max(report.status, Exit.PLUGIN))
    if all(step.ok for step in report.steps) and not sample.is_made_up:
        report = replace(report, notes=(*report.notes, *_sample_notes(manifest, sample)))
    return report


def _unmet(choice: Choice) -> Step:
    """Return what is missing, with the command that installs it."""
    words = choice.reason.removesuffix(f": {choice.install}")
    return Step("requirements", False, words, choice.install or "install what is missing")


def _taken_name(session: Session, plugin: Plugin) -> list[Step]:
    """Return what is wrong with a name that a bundled plugin has: beside it neither can run."""
    settings, name = session.settings, plugin.manifest.plugin
    bundled, _ = discovery.discover(
        disable_bundled=settings.disable_bundled, allow_bundled=settings.allow_bundled
    )
    if not any(
        other.manifest.plugin == name and not _is_same(other.path, plugin.path) for other in bundled
    ):
        return []
    words = f"{name} is taken by a bundled plugin, so neither of them can run"
    advice = f'give it another name, or have the operator set disable_bundled = ["{name}"]'
    return [Step("name", False, words, advice)]


def _name_notes(session: Session, plugin: Plugin) -> list[str]:
    """Say it when another plugin has the name: used together, neither would run."""
    others, _ = discovery.discover(
        (*session.shared.plugins, *session.settings.plugins),
        bundled=False,
        allow_installed=session.settings.allow_installed,
    )
    return [
        f"the name {plugin.name} is taken by {shown(other.path)}: choose another one"
        for other in others
        if other.name == plugin.name and not _is_same(other.path, plugin.path)
    ]


def _schema_notes(manifest: Manifest) -> list[str]:
    """Say which words of its schemas have no effect, where others are meant."""
    return [
        f"{json.dumps(word[:_LONGEST_WORD])} in its {field} is no keyword of JSON Schema, and has "
        f"no effect; did you mean {keyword}?"
        for field in ("input_schema", "output_schema")
        for word, keyword in misspelled(getattr(manifest, field) or {})
    ]


def _sample_notes(manifest: Manifest, given: Sample) -> list[str]:
    """Say how to give a sample of JSON, where there is none."""
    schema = manifest.input_schema or {}
    if manifest.input != "json" or given.payload:
        return []
    keys = [key for key in schema.get("required", ()) if str(key).isidentifier()]
    line = sample(*keys or ["key"])
    if manifest.input_schema is not None:
        line = f"{line.partition('{ ')[2].removesuffix(' }')} in its input_schema"
    return [f"it was called with {{}}, as it has no sample of its input; give it one: {line}"]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _load(plugin: Plugin, bench: Bench, report: Report, sample: Sample) -> Report:
    """Return the report with what loading the plugin tells, without input that it could take.

    What Python code makes of input that is none is not judged. Of a program nothing is known before
    it runs: it is, and may say that its input is at fault.
    """
    manifest = plugin.manifest
    is_program = bool(manifest.command)
    use = "analyze" if manifest.input == "image" else "run"
    own = bench.runner()
    start = started(own, plugin.name)
    seconds = None if is_program else manifest.limits.load_seconds + MEASURING_SECONDS
    answer = bench.first(own, start, seconds)
    called_with = replace(sample, about=f"something made up as {manifest.accepts[0]}")
    is_loaded = start.mode != "failed"
    status, steps, _ = _judge(answer, called_with, manifest, is_loaded=is_loaded)
    of_yours = (
        f"`toolrunner plugins check {shlex.quote(shown(plugin.path))} --sample FILE` tries it on a "
        f"file of yours, `toolrunner {use} {plugin.name} FILE` runs it"
    )
    notes: tuple[str, ...] = (f"{sample.about}, so it was not tried on any: {of_yours}",)
    done: Done | None = Done(plugin.name, None, answer.call, answer.result, answer.envelope)
    if is_program and steps[-1].name in {"runs", "returns"} and not steps[-1].ok:
        advice = f"where that is no matter of the program: exit with 65 for such input; {of_yours}"
        steps[-1] = replace(steps[-1], advice=advice)
    elif not is_program and any(step.name == "loads" and step.ok for step in steps):
        steps, status, done = [step for step in steps if step.name != "runs"][:2], Exit.DONE, None
    if status is not Exit.DONE:
        notes = ()
    return replace(
        report,
        steps=(*report.steps, *steps),
        status=status,
        notes=(*report.notes, *notes),
        done=done,
        start=start,
    )


def _run(session: Session, plugin: Plugin, bench: Bench, report: Report, given: Sample) -> Report:
    """Return the report with what running the plugin tells."""
    manifest, caps = plugin.manifest, session.settings.caps
    own = bench.runner()
    began = time.monotonic()
    start = started(own, plugin.name)
    load_seconds = time.monotonic() - began
    answer = bench.first(own, start)
    is_loaded = start.mode != "failed"
    status, steps, notes = _judge(answer, given, manifest, is_loaded=is_loaded)
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
        bench.begin(load_seconds)
        tried = after_failure(bench, plugin, caps, start, answer.envelope["error"]["type"])
        advice = advise_after_failure(manifest, start, tried)
        if start.mode != "failed" and "cold" in tried.p50_ms:
            last = replace(report.steps[-1], advice=advice[0])  # the one that failed by the call
            return replace(report, steps=(*report.steps[:-1], last))
        return replace(report, advice=advice)
    bench.begin(time.monotonic() - began)
    told: set[str] = set()
    if manifest.start == "resident":
        served = list(_as_resident(bench, own, manifest, start))
        if not all(step.ok for step in served):
            report = replace(report, status=Exit.PLUGIN)
        report = replace(report, steps=(*report.steps, *served))
        told = {step.detail for step in served if not step.ok}
    limit_mb = manifest.limits.capped(caps).memory_mb
    measured = measure(bench, own, start, limit_mb, answer.ms)
    missed = tuple(one for one in measured.missed if one.why not in told)
    measured = replace(measured, missed=missed)
    return replace(report, measured=measured, advice=advise(manifest, start, measured))


def _as_resident(bench: Bench, own: ToolRunner, manifest: Manifest, start: Start) -> Iterator[Step]:
    """Try what the manifest asks for, also where the operator has not allowed it yet."""
    try:
        resident = own if start.mode == "resident" else bench.started("resident")
    except NotTakenError as error:
        yield Step("resident", not error.by_call, str(error), of_a_resident(str(error)))
        return
    try:
        took = [bench.trial(resident, "resident").ms for _ in range(2)][-1]
    except NotTakenError as error:
        yield Step("resident", not error.by_call, str(error), CALLED_AGAIN)
        return
    yield Step("resident", True, f"called again in the same process: {told_ms(took)}")
    if manifest.batch > 1:
        try:
            took = bench.batch_ms()
        except NotTakenError as error:
            advice = "return a list with one result for each of the payloads, in their order"
            yield Step("batch", not error.by_call, str(error), advice)
        else:
            yield Step("batch", True, f"two calls together: {told_ms(took)}")


def _judge(
    done: Answer, given: Sample, manifest: Manifest, *, is_loaded: bool
) -> tuple[Exit, list[Step], list[str]]:
    """Return the exit status, the steps of the run, and notes.

    ``is_loaded``: it has been loaded before, or is loaded by each call.
    """
    about = given.about
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
        if "exception" in details:  # the plugin's own, by which it blames its caller
            runs = Step("runs", True, f"on {about}: it answers {details['exception']}")
            note = f"it does not take {about} ({error['message']}); --sample FILE tries another one"
            return Exit.DONE, [confined, loads, runs], [note]
        advice = "give input_schema an example that fits: examples = [{ ... }]"
        if given.is_given:
            advice = "give it a sample that its manifest takes, or change that"
        refused = Step("runs", False, f"{about} is refused: {error['message']}", advice)
        return Exit.PLUGIN, [refused], []
    failed = _failing_step(error_type, error["message"], is_loaded=is_loaded)
    advice = what_to_do(
        error,
        done.envelope["_internal"]["traceback"],
        is_loading=failed == "loads",
        rehearses=manifest.warm_up,
        given_nothing=about.startswith("an empty object"),
        is_program=bool(manifest.command),
    )
    step = Step(failed, False, f"{error_type}: {error['message']}", advice)
    before: dict[str, list[Step]] = {"sandbox": [], "loads": [confined]}
    ran = Step("runs", True, f"on {about}")
    before["runs"] = [confined, loads]
    before["returns"] = [confined, loads, ran]
    return exit_of(done.envelope), [*before[failed], step], []


def _failing_step(error_type: ErrorType, message: str, *, is_loaded: bool) -> str:
    if error_type.blame.value == "host" or error_type is ErrorType.PLUGIN_UNAVAILABLE:
        return "sandbox"
    is_load_error = error_type is ErrorType.PLUGIN_LOAD_ERROR
    if is_load_error or not is_loaded or message.endswith(" while loading"):
        return "loads"
    if error_type is ErrorType.OUTPUT_VALIDATION_ERROR:
        return "returns"
    return "runs"
