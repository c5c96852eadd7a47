"""The ``worker`` command: its options, and nothing else. Registered by ``app``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.completion import plugin_names
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.options import KeepFailures
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.supervising import (
    MOST_WORKERS,
    LogForm,
    LogFormat,
    options_of,
    run_to_its_end,
)
from toolrunner.runner.settings.settings import MOST_JOB_THREADS, Settings


def worker(
    session: Session,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=MOST_JOB_THREADS,
            metavar="N",
            help="Jobs that each process runs at once, instead of job_threads of the settings.",
            show_default=False,
        ),
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="NAME",
            help="Run jobs of this plugin alone; may be repeated.",
            autocompletion=plugin_names,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=MOST_WORKERS, help="Processes that run jobs.")
    ] = 1,
    health: Annotated[
        str | None,
        typer.Option(
            "--health",
            metavar="HOST:PORT",
            help="Answer /healthz, /readyz and /metrics there, and nothing else; needs no key.",
            show_default=False,
        ),
    ] = None,
    log_format: LogForm = LogFormat.TEXT,
    keep_failures: KeepFailures = None,
) -> Exit:
    """Run jobs that servers have taken, and serve no HTTP API.

    They are those of the PostgreSQL that `jobs` in the settings names, beside all servers and
    workers that have the same `jobs` and `blobs`; or, without it, those of the state folder, beside
    the servers of this host that have the same --state. Jobs run of the plugins that are here, in
    the version that was asked for. SIGTERM finishes what runs; SIGHUP reads settings and plugins
    anew.
    """
    session = session.keeping(keep_failures)

    def adapted(settings: Settings) -> Settings:
        settings = settings.for_serving()
        return settings if jobs is None else settings.model_copy(update={"job_threads": jobs})

    common = options_of(session, workers, log_format, adapted)
    if not common.settings.job_threads:
        message = (
            f"job_threads is 0 ({session.settings.sources()['job_threads']}), so this worker would"
            " run nothing: say with --jobs N how many jobs each process runs at once"
        )
        raise Refused(message)
    # What a server has beside it, the HTTP API above all, is not imported.
    from toolrunner.api.serve import jobs_program  # noqa: PLC0415 - half a second, for this alone

    options = jobs_program.WorkerOptions(common, tuple(plugin or ()), health)
    return run_to_its_end(partial(jobs_program.work, options))
