"""How the report of ``toolrunner plugins check`` looks to a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.check import Report, Step
from toolrunner.api.cli.console import plain
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.views.calls import error_view


def report_view(report: Report, *, debug: bool) -> RenderableType:
    """Return the steps, each with a tick or with what failed and what to do."""
    title = plain(report.plugin, "bold").append_text(plain(f"  {report.path}", "dim"))
    lines = [title, *(line for step in report.steps for line in _step(step))]
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
