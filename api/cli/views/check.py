"""How the report of ``toolrunner plugins check`` looks to a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.advice import told_ms
from toolrunner.api.cli.check import Report, Step
from toolrunner.api.cli.console import plain
from toolrunner.api.cli.examined import Examined, Imported
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.measuring import Measured
from toolrunner.api.cli.views.calls import error_view
from toolrunner.runner.start_mode import Start

_STARTS = {
    "warm": "calls start warm: each is a fork of the loaded plugin",
    "cold": "calls start cold: each loads the plugin anew",
    "resident": "calls start resident: one process serves many",
}


def report_view(report: Report, *, debug: bool) -> RenderableType:
    """Return how calls start, the steps, each with a tick or what to do, and what was measured."""
    title = plain(report.plugin, "bold").append_text(plain(f"  {report.path}", "dim"))
    lines = [title, *_starts(report.start), *(line for s in report.steps for line in _step(s))]
    if report.measured is not None:
        lines += [plain(f"    {line}") for line in _measured(report.measured)]
    lines += [plain(f"  advice: {words}", "yellow") for words in report.advice]
    lines += [plain(f"  note: {note}", "yellow") for note in report.notes]
    parts: list[RenderableType] = [*lines]
    done = report.done
    if report.status is not Exit.DONE and done is not None and done.envelope is not None:
        parts.append(error_view(done.envelope, file=None, debug=debug))
    return Group(*parts)


def _step(step: Step) -> Iterator[Text]:
    mark = Text("  ✓ ", style="green") if step.ok else Text("  ✗ ", style="red")
    mark.append(step.name, "" if step.ok else "bold")
    if step.detail:
        mark.append(": ").append_text(plain(step.detail.replace("\n", "\n    ")))
    yield mark
    if not step.ok and step.advice:
        yield plain(f"    what to do: {step.advice}")


def _starts(start: Start | None) -> Iterator[Text]:
    if start is not None and start.mode != "failed":
        yield plain(f"  {'; '.join((_STARTS[start.mode], *start.reasons))}", "bold")


def _measured(measured: Measured) -> Iterator[str]:
    times = [f"{told_ms(ms)} {mode}" for mode, ms in measured.p50_ms.items()]
    if times:
        yield f"a call (median): {', '.join(times)}"
    yield f"memory: {measured.peak_memory_mb:.0f} of {measured.memory_mb} MiB"
    if measured.examined is not None:
        yield from _examined(measured.examined)


def _examined(found: Examined) -> Iterator[str]:
    yield f"loading: {told_ms(found.load_ms)}{_imports(found.loading)}"
    yield (
        f"first call: {told_ms(found.first_ms)}, the next one {told_ms(found.second_ms)}"
        f"{_imports(found.calling)}"
    )
    left = [f"{thing.kind} {thing.name} ({thing.by})".replace("  ", " ") for thing in found.left]
    if left:
        yield f"its import leaves: {', '.join(left)}"


def _imports(imported: Imported) -> str:
    if not imported.modules:
        return ""
    packages = ", ".join(f"{one.name} {told_ms(one.ms)}" for one in imported.packages[:4])
    return f"; imports {imported.modules} modules in {told_ms(imported.ms)} ({packages})"
