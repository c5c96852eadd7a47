"""How the report of ``toolrunner plugins check`` looks to a person."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.advice import told_ms
from toolrunner.api.cli.check import Report, Step
from toolrunner.api.cli.console import Hanging, counted, plain, unbroken
from toolrunner.api.cli.examined import Examined, Imported
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.measuring import Measured
from toolrunner.api.cli.views.calls import evidence, place_view, printed_view
from toolrunner.runner.environments.choice import INSTALL
from toolrunner.runner.tracebacks import own_place

_STARTS = {
    "warm": "calls start warm: each is a fork of the loaded plugin",
    "cold": "calls start cold: each loads the plugin anew",
    "resident": "calls start resident: one process serves many",
}

_PROGRAM_STARTS = {
    "warm": "calls start warm: what starts the program is forked ahead, and its own start is part "
    "of each call",
    "cold": "calls start cold: each makes a box, and starts the program in it",
}

# Before each further line of words: our own, which stand deeper than any line of ours, and those of
# a plugin, which are marked as such.
_DEEPER, _QUOTED = "      ", "    | "


def report_view(report: Report, *, debug: bool) -> RenderableType:
    """Return how calls start, the steps, each with a tick or what to do, and what was measured."""
    title = plain(report.plugin, "bold").append_text(plain(f"  {report.path}", "dim"))
    lines: list[RenderableType] = [title, *_starts(report)]
    lines += [line for step in report.steps for line in _step(step)]
    if report.measured is not None:
        lines += [Hanging("    ", line, _DEEPER) for line in _measured(report.measured)]
    lines += [Hanging("  advice: ", words, _DEEPER, "yellow") for words in report.advice]
    lines += [Hanging("  note: ", note, _QUOTED, "yellow") for note in report.notes]
    done = report.done
    if report.status is not Exit.DONE and done is not None and done.envelope is not None:
        # What it says, and to whom it falls, the step that failed has told.
        place = own_place(done.envelope, Path(report.path))
        lines += [] if place is None else [place_view(place)]
        lines += evidence(done.envelope, debug=debug)
    elif done is not None and done.call.log_tail:
        lines.append(printed_view(done, whole=False))
    return Group(*lines)


def _step(step: Step) -> Iterator[RenderableType]:
    mark = Text("  ✓ ", style="green") if step.ok else Text("  ✗ ", style="red")
    mark.append(step.name, "" if step.ok else "bold")
    if step.detail:
        further = _DEEPER if step.ok else _QUOTED
        if step.name == "manifest":
            further = "    "  # our own list of what is wrong with it, with lines to be copied
        yield Hanging(mark.append(": "), step.detail, further)
    else:
        yield mark
    if not step.ok and step.advice.startswith(f"{INSTALL} "):
        yield unbroken(f"    what to do: {step.advice}")
    elif not step.ok and step.advice:
        yield Hanging("    what to do: ", step.advice, _DEEPER)


def _starts(report: Report) -> Iterator[RenderableType]:
    start = report.start
    if start is not None and start.mode != "failed":
        words = (_PROGRAM_STARTS if report.is_program else _STARTS)[start.mode]
        yield Hanging("  ", "; ".join((words, *start.reasons)), _DEEPER, "bold")


def _measured(measured: Measured) -> Iterator[str]:
    times = [f"{told_ms(ms)} {mode}" for mode, ms in measured.p50_ms.items()]
    if times:
        yield f"a call (median): {', '.join(times)}"
    yield f"memory: {measured.peak_memory_mb:.0f} of {measured.memory_mb} MiB"
    if measured.examined is not None:
        yield from _examined(measured.examined)
    missed: dict[str, list[str]] = {}
    for one in measured.missed:
        missed.setdefault(one.why, []).append(one.what)
    for why, what in missed.items():
        yield f"not measured: {', '.join(what)}: {why}"


def _examined(found: Examined) -> Iterator[str]:
    yield f"loading: {told_ms(found.load_ms)}{_imports(found.loading)}"
    yield (
        f"first call: {told_ms(found.first_ms)}, the next one {told_ms(found.second_ms)}"
        f"{_imports(found.calling)}"
    )
    left = collections.Counter((thing.kind, thing.name, thing.by) for thing in found.left)
    if left:
        yield f"its import leaves: {', '.join(_thing(*of, count) for of, count in left.items())}"


def _thing(kind: str, name: str, by: str, count: int) -> str:
    several = f"{count} times " if count > 1 else ""
    return f"{several}{kind} {name} ({by})".replace("  ", " ")


def _imports(imported: Imported) -> str:
    if not imported.modules:
        return ""
    packages = ", ".join(f"{one.name} {told_ms(one.ms)}" for one in imported.packages[:4])
    return f"; imports {counted(imported.modules, 'module')} in {told_ms(imported.ms)} ({packages})"
