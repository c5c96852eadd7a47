"""How jobs look to the operator at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.console import Hanging, moment_words, plain, size_words, table_of
from toolrunner.api.cli.views.calls import error_view
from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.jobs.job import Event, Job, JobStatus

_STYLES = {
    JobStatus.PENDING: "",
    JobStatus.RUNNING: "cyan",
    JobStatus.SUCCESS: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "dim",
}


def list_view(jobs: Iterable[Job]) -> RenderableType:
    """Return a table of jobs."""
    table = table_of("id", "plugin", "caller", "status", "created", "attempts", "")
    for job in jobs:
        table.add_row(
            job.id,
            plain(job.plugin, "bold"),
            plain(job.caller),
            _status(job),
            _time(job.created_at),
            str(job.attempts),
            plain(_about(job), "dim"),
        )
    return table


def job_view(job: Job, artifacts: Sequence[ArtifactInfo]) -> RenderableType:
    """Return everything that is known of a job."""
    table = table_of()
    table.show_header = False
    rows: dict[str, Text] = {
        "status": _status(job),
        "plugin": plain(job.plugin),
        "caller": plain(job.caller or "none: no keys are in use"),
        "created": _time(job.created_at),
        "started": _time(job.started_at),
        "ended": _time(job.ended_at),
        "attempts": Text(f"{job.attempts}, {job.retries} retries allowed"),
    }
    if job.waiting_for:
        rows["waits for"] = plain(job.waiting_for, "yellow")
    for one in artifacts:
        rows[f"artifact {one.name}"] = plain(f"{one.mime_type}, {size_words(one.size_bytes)}")
    for name, value in rows.items():
        table.add_row(plain(name, "cyan"), value)
    parts: list[RenderableType] = [Text(job.id, style="bold"), table]
    if job.error is not None:
        envelope = {"error": job.error}
        parts.append(error_view(envelope, file=None, debug=False, was_called=False))
    return Group(*parts)


def event_view(event: Event) -> RenderableType:
    """Return a line for what has happened to a job."""
    if event.kind == "status":
        status = JobStatus(event.data["status"])
        return Text(status, style=_STYLES[status])
    first = f"{event.data['fraction']:4.0%} "
    return Hanging(first, event.data["message"], " " * len(first))


def _status(job: Job) -> Text:
    words = f"{job.status} (dead)" if job.is_dead else str(job.status)
    return Text(words, style=_STYLES[job.status])


def _about(job: Job) -> str:
    if job.error is not None:
        words = f"{job.error['type']}: {job.error.get('message', '')}"
        return words.partition("\n")[0][:80]
    if job.waiting_for:
        return f"waits for {job.waiting_for}"
    if job.status is JobStatus.RUNNING and job.progress is not None:
        return f"{job.progress:.0%}"
    return ""


def _time(moment: datetime | None) -> Text:
    return Text(moment_words(moment))
