"""What the shell offers where a plugin's name or a job is meant; files it offers by itself.

Called by the command-line library while a line is being typed: whatever goes wrong, it says
nothing. Names are all that it hands on: zsh evaluates what it is given, and descriptions are other
people's words.
"""

from __future__ import annotations

import logging

import typer

from toolrunner.api.cli.kept_jobs import kept_jobs
from toolrunner.api.cli.session import Session, Shared
from toolrunner.runner.jobs.job import JobFilter

_MOST_IDS = 100


def job_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the newest jobs that begin like that."""
    logging.disable()
    try:
        with kept_jobs(_session(ctx).settings) as store:
            jobs = [] if store is None else store.listed(JobFilter(None), limit=1000, before=None)
            return [job.id for job in jobs if job.id.startswith(incomplete)][:_MOST_IDS]
    except Exception:  # noqa: BLE001 - as below
        return []


def plugin_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin like that, also of the plugins that this very line adds."""
    logging.disable()
    try:
        registry = _session(ctx).registry
        return [name for name in registry.list_plugins() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - broken settings are told by the command itself
        return []


def _session(ctx: typer.Context) -> Session:
    """Return the session of a line that is not whole yet."""
    paths: list[str] = []
    state = None
    here: typer.Context | None = ctx
    while here is not None:
        paths += here.params.get("plugins") or ()
        state = state or here.params.get("state")
        here = here.parent  # type: ignore[assignment]  # of the class that it derives from
    return Session(Shared(plugins=tuple(paths), state=state))
