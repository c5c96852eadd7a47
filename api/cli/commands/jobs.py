"""``toolrunner jobs``: the operator's view of all callers' jobs, over the state folder.

It needs no server that runs: what it changes, servers see within a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.artifacts import ArtifactFolder, Kept
from toolrunner.api.cli.completion import job_ids, plugin_names
from toolrunner.api.cli.console import counted, plain
from toolrunner.api.cli.exits import Exit, Refused, exit_of
from toolrunner.api.cli.kept_jobs import (
    all_of,
    cancel_each,
    found,
    in_parts,
    jobs_that_are_kept,
    told,
)
from toolrunner.api.cli.options import Commands, command, examples, group
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views.calls import error_view, tree_of
from toolrunner.api.cli.views.jobs import event_view, job_view, list_view
from toolrunner.api.documents import job_document
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus, NotDeadError
from toolrunner.runner.jobs.store import JobStore
from toolrunner.sandbox.artifacts import Artifact

_POLL_SECONDS = 0.1
# However long the store would let it wait: Ctrl-C is heard meanwhile.
_MOST_SECONDS = 60.0
_CANCEL_SECONDS = 5.0
_MOST_LISTED = 100_000
INTERRUPTED = 130

jobs_app = typer.Typer(cls=Commands, rich_markup_mode=None)

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id.", autocompletion=job_ids)]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Jobs' ids.", autocompletion=job_ids, show_default=False),
]
OfCaller = Annotated[
    str | None,
    typer.Option(
        "--caller",
        metavar="NAME",
        help="Only those of a key's name; '' is where no keys are in use.",
        show_default=False,
    ),
]
OfPlugin = Annotated[
    str | None,
    typer.Option(
        "--plugin",
        metavar="NAME",
        help="Only those of a plugin.",
        autocompletion=plugin_names,
        show_default=False,
    ),
]
OfStatus = Annotated[
    JobStatus | None,
    typer.Option("--status", help="Only these.", case_sensitive=False, show_default=False),
]


@jobs_app.command(
    "list",
    epilog=examples(
        "toolrunner jobs",
        "toolrunner jobs list --dead",
        "toolrunner jobs list --caller shop --status FAILED --json",
    ),
)
@command
def list_jobs(
    session: Session,
    caller: OfCaller = None,
    plugin: OfPlugin = None,
    status: OfStatus = None,
    dead: Annotated[
        bool,
        typer.Option("--dead", help="Only those that have failed and wait for retry or purge."),
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=_MOST_LISTED, help="At most so many.")
    ] = 100,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="ID",
            help="Only older ones than this job.",
            autocompletion=job_ids,
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """List jobs, the newest first."""
    which = JobFilter(caller, status, plugin, is_dead=True if dead else None)
    with jobs_that_are_kept(session.settings) as store:
        if before is not None:
            found(store, before)
        jobs = store.listed(which, limit=limit, before=before)
    jobs = told(session.settings, jobs)
    if session.shared.as_json:
        session.terminal.document([job_document(job) for job in jobs])
    elif jobs:
        session.terminal.show(list_view(jobs))
        if len(jobs) == limit:
            session.terminal.say(f"There may be more: --before {jobs[-1].id} lists older ones.")
    else:
        session.terminal.say("There is no such job.")
    return Exit.DONE


jobs_app.callback(invoke_without_command=True)(group(list_jobs))


@jobs_app.command(
    "show", epilog=examples("toolrunner jobs show 0f3a…", "toolrunner jobs --json show 0f3a…")
)
@command
def show_job(session: Session, job_id: JobId) -> Exit:
    """Show one job, with its error and the artifacts that are kept."""
    with jobs_that_are_kept(session.settings) as store:
        job = found(store, job_id)
        artifacts = store.artifacts(job_id)
    [job] = told(session.settings, [job])
    if session.shared.as_json:
        told_of = [one.document() for one in artifacts]
        session.terminal.document({**job_document(job), "artifacts": told_of})
    else:
        session.terminal.show(job_view(job, artifacts))
    return Exit.DONE


@jobs_app.command("follow", epilog=examples("toolrunner jobs follow 0f3a…"))
@command
def follow_job(session: Session, job_id: JobId) -> Exit:
    """Print what has happened to a job and what happens, until it has ended.

    The exit status is that of its outcome, as of `toolrunner run`. Ctrl-C leaves the job alone.
    """
    try:
        with jobs_that_are_kept(session.settings) as store:
            return _of_outcome(_followed(session, store, job_id))
    except KeyboardInterrupt:
        session.terminal.say("The job goes on.")
        raise typer.Exit(INTERRUPTED) from None


def _followed(session: Session, store: JobStore, job_id: str) -> Job:
    after, called = 0, threading.Event()
    with store.following(job_id, called.set) as most_seconds:
        while True:
            called.clear()
            # In this order: a job that has ended by now has all its events there.
            job = found(store, job_id)
            for event in store.events(job_id, after):
                after = event.number
                if session.shared.as_json:
                    session.terminal.document({"event": event.kind, **event.data})
                else:
                    session.terminal.show(event_view(event))
            if job.status.has_ended:
                return job
            called.wait(min(most_seconds, _MOST_SECONDS))


@jobs_app.command(
    "result",
    epilog=examples("toolrunner jobs result 0f3a…", "toolrunner jobs result 0f3a… --out results"),
)
@command
def show_result(
    session: Session,
    job_id: JobId,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="A folder for the files that the plugin gave back; made if it is not there.",
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Show what a job has brought, or its error."""
    with jobs_that_are_kept(session.settings) as store:
        job = found(store, job_id)
        if not job.status.has_ended:
            message = (
                f"the job is {job.status}; `toolrunner jobs follow {job_id}` waits for its end"
            )
            raise Refused(message)
        if job.status is not JobStatus.SUCCESS:
            return _show_failure(session, job)
        result = store.result(job_id)
        if result is None:
            message = "the result is kept no longer (keep_hours, keep_mb)"
            raise Refused(message)
        kept = _artifacts(store, job_id, None if out is None else ArtifactFolder(out))
    if session.shared.as_json:
        document = {"plugin": job.plugin, "result": result}
        more = {"artifacts": [one.document() for one in kept]} if kept else {}
        session.terminal.document({**document, **more})
    else:
        session.terminal.show(tree_of(plain(job.plugin, "bold"), result, kept))
    return Exit.DONE


def _show_failure(session: Session, job: Job) -> Exit:
    if job.error is None:
        message = "the job was cancelled before it ran: it has brought nothing"
        raise Refused(message)
    if session.shared.as_json:
        session.terminal.document({"error": job.error})
    else:
        session.terminal.err.print(error_view({"error": job.error}, file=None, debug=False))
    return _of_outcome(job)


def _artifacts(store: JobStore, job_id: str, folder: ArtifactFolder | None) -> tuple[Kept, ...]:
    """Return what is told of a job's artifacts, written to a folder if there is one."""
    infos = store.artifacts(job_id)
    if folder is None:
        return tuple(Kept(info) for info in infos)
    artifacts = []
    for info in infos:
        reader = store.open_artifact(job_id, info.name)
        if reader is None:
            message = "the artifacts are kept no longer (keep_hours, keep_mb)"
            raise Refused(message)
        try:
            data = reader.read(0, info.size_bytes)
        finally:
            reader.close()
        artifacts.append(Artifact(info.name, info.mime_type, data))
    return folder.keep(artifacts)


@jobs_app.command(
    "cancel",
    epilog=examples(
        "toolrunner jobs cancel 0f3a… 77b1…",
        "toolrunner jobs cancel --all --plugin my-plugin --status PENDING",
    ),
)
@command
def cancel_jobs(
    session: Session,
    job_ids: JobIds = None,
    every: Annotated[bool, typer.Option("--all", help="All jobs that have not ended.")] = False,
    caller: OfCaller = None,
    plugin: OfPlugin = None,
    status: OfStatus = None,
) -> Exit:
    """Cancel jobs: what runs is killed, what waits never runs; one that has ended stays so."""
    which = JobFilter(caller, status, plugin)
    jobs: list[Job] = []
    with jobs_that_are_kept(session.settings) as store:
        ids = _meant(store, job_ids, every=every, which=which, ended=False)
        before = [] if every else [found(store, job_id) for job_id in ids]
        in_parts(session.settings, store, ids, partial(cancel_each, store))
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline:
            jobs = [found(store, job_id) for job_id in ids]
            if all(job.status.has_ended for job in jobs):
                break
            time.sleep(_POLL_SECONDS)
        _show_changed(session, jobs)
    for job in before:
        if job.status.has_ended:
            session.terminal.say(f"Job {job.id} had ended already: it stays {job.status}.")
    if not all(job.status.has_ended for job in jobs):
        session.terminal.say("What still runs ends as soon as the server that runs it sees this.")
    return Exit.DONE


@jobs_app.command(
    "retry",
    epilog=examples(
        "toolrunner jobs retry 0f3a…", "toolrunner jobs retry --all --plugin my-plugin"
    ),
)
@command
def retry_jobs(
    session: Session,
    job_ids: JobIds = None,
    every: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
    caller: OfCaller = None,
    plugin: OfPlugin = None,
) -> Exit:
    """Run dead jobs again: they are PENDING, with the payload and the id that they had."""
    which = JobFilter(caller, None, plugin, is_dead=True)
    with jobs_that_are_kept(session.settings) as store:
        ids = _meant(store, job_ids, every=every, which=which)
        retried = []
        for job_id in ids:
            try:
                retried.append(store.retry(job_id) or found(store, job_id))
            except NotDeadError as error:
                if not every:
                    if retried:
                        _show_changed(session, retried)
                    raise Refused(str(error)) from None
        _show_changed(session, retried)
    return Exit.DONE


@jobs_app.command(
    "purge",
    epilog=examples(
        "toolrunner jobs purge 0f3a…",
        "toolrunner jobs purge --older-than 72",
        "toolrunner jobs purge --all --caller shop",
    ),
)
@command
def purge_jobs(
    session: Session,
    job_ids: JobIds = None,
    every: Annotated[bool, typer.Option("--all", help="All jobs that have ended.")] = False,
    caller: OfCaller = None,
    plugin: OfPlugin = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="HOURS",
            min=0,
            help="Only those that ended so long ago.",
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Delete jobs that have ended, with what is kept of them; all dead ones if none is named."""
    ended_before = None if older_than is None else datetime.now(UTC) - timedelta(hours=older_than)
    is_dead = None if every else True
    which = JobFilter(caller, None, plugin, is_dead=is_dead, ended_before=ended_before)
    with jobs_that_are_kept(session.settings) as store:
        ids = _meant(store, job_ids, every=every or not job_ids, which=which)
        count = sum(in_parts(session.settings, store, ids, store.purge))
        left = [job for one in job_ids or () if (job := store.get(one)) is not None]
    if session.shared.as_json:
        session.terminal.document({"purged": count})
    else:
        session.terminal.say(f"Purged {counted(count, 'job')}.")
    if left:
        message = f"job {left[0].id} is {left[0].status}: cancel it first"
        raise Refused(message)
    return Exit.DONE


def _meant(
    store: JobStore,
    job_ids: list[str] | None,
    *,
    every: bool,
    which: JobFilter,
    ended: bool = True,
) -> list[str]:
    """Return the jobs that are named, or all that are meant; either has to be said.

    ``ended``: whether those are meant that have ended, or all others.
    """
    if not every:
        if JobFilter(None, is_dead=which.is_dead) != which:
            message = (
                "--caller, --plugin, --status and --older-than choose among all: give --all, and "
                "name no job"
            )
            raise Refused(message)
        return _named(store, job_ids)
    if job_ids:
        message = "name jobs, or choose among all of them: not both"
        raise Refused(message)
    return [job.id for job in all_of(store, which) if job.status.has_ended is ended]


def _named(store: JobStore, job_ids: Iterable[str] | None) -> list[str]:
    """Return the jobs that are named, each once; raises Refused before anything is done."""
    ids = list(dict.fromkeys(job_ids or ()))
    if not ids:
        message = "name a job; `toolrunner jobs` lists them"
        raise Refused(message)
    return [found(store, job_id).id for job_id in ids]


def _show_changed(session: Session, jobs: list[Job]) -> None:
    jobs = told(session.settings, jobs)
    if session.shared.as_json:
        session.terminal.document([job_document(job) for job in jobs])
    elif jobs:
        session.terminal.show(list_view(jobs))
    else:
        session.terminal.say("There is no such job.")


def _of_outcome(job: Job) -> Exit:
    """Return the exit status that tells how a job has ended."""
    if job.status is JobStatus.CANCELLED:
        return Exit.CALLER
    return exit_of(None if job.error is None else {"error": job.error})
