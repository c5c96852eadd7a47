"""The jobs of a state folder, or of a cluster, for a command: none are made where none are kept.

Nor is a file of an older version changed: servers of that version may run, and would lose it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from toolrunner.api.cli.exits import Refused
from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.cluster import open_cluster_store
from toolrunner.runner.jobs.job import Job, JobFilter
from toolrunner.runner.jobs.sqlite_file import FILE
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import JobStore
from toolrunner.runner.jobs.waiting import waits_for_the_end
from toolrunner.runner.registry.suspensions import Standing, Suspensions
from toolrunner.runner.services.backend import store_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.state.reserve import is_short, make_room, with_room
from toolrunner.runner.webhooks.outbox import Outbox
from toolrunner.runner.webhooks.secret_file import SecretFile
from toolrunner.runner.webhooks.signing import Secrets

_PAGE = 1000
_PART = 20
T = TypeVar("T")


@contextmanager
def kept_jobs(settings: Settings) -> Iterator[JobStore | None]:
    """Open the store that servers with these settings share; ``None`` where there is none yet."""
    if settings.jobs:
        with closing(open_cluster_store(settings)) as store:
            yield store
        return
    with _own_store(settings) as own:
        yield own


@contextmanager
def _own_store(settings: Settings) -> Iterator[SqliteJobStore | None]:
    folder = settings.kept_state()
    if not (folder / FILE).exists():
        yield None
        return
    make_room(folder)  # SQLite needs some to read as well
    with (
        closing(Lease(folder / "workers")) as lease,
        closing(store_of(settings, lease, may_migrate=False)) as store,
    ):
        yield store


def told(settings: Settings, jobs: Iterable[Job]) -> list[Job]:
    """Return jobs that wait for what they wait for: of a suspended plugin, for its end."""
    standings = Suspensions(settings.kept_state())
    return [_told(job, standings.standing(job.plugin)) for job in jobs]


def _told(job: Job, standing: Standing) -> Job:
    if not job.waiting_for or standing.seconds_left(time.time()) <= 0:
        return job
    return waits_for_the_end(job, standing)


@dataclass(frozen=True, slots=True)
class Posting:
    """What is posted, ``None`` where no jobs were kept yet, and what it is signed with."""

    outbox: Outbox | None
    secrets: Secrets


@contextmanager
def kept_posting(settings: Settings) -> Iterator[Posting]:
    """Open what servers with these settings post."""
    if settings.jobs:
        with closing(open_cluster_store(settings)) as shared:
            yield Posting(shared.outbox, shared.secrets)
        return
    with _own_store(settings) as store:
        outbox = None if store is None else store.outbox
        yield Posting(outbox, SecretFile(settings.kept_state()))


@contextmanager
def jobs_that_are_kept(settings: Settings) -> Iterator[JobStore]:
    """Open it, for who asks for a job by its id."""
    with kept_jobs(settings) as store:
        if store is None:
            raise Refused(none_kept(settings))
        yield store


def in_parts(
    settings: Settings,
    store: JobStore,
    job_ids: Sequence[str],
    step: Callable[[Sequence[str]], T],
) -> list[T]:
    """Do a step with some jobs after the other; on a full disk with the room that is kept for it.

    What one part frees, the next one need not find.
    """
    folder, done = settings.kept_state(), []
    for first in range(0, len(job_ids), _PART):
        part = partial(step, job_ids[first : first + _PART])
        if not isinstance(store, SqliteJobStore):  # what it needs is on another disk
            done.append(part())
            continue
        done.append(with_room(folder, part))
        if is_short(folder):
            store.spare_room()
    return done


def cancel_each(store: JobStore, job_ids: Iterable[str]) -> None:
    """Cancel these, for ``in_parts``."""
    for job_id in job_ids:
        store.cancel(job_id, CancelledBy.OPERATOR)


def none_kept(settings: Settings) -> str:
    """Return what is said where there is no file of jobs."""
    return f"no jobs are kept in {settings.kept_state()}; --state names another folder"


def found(store: JobStore, job_id: str) -> Job:
    """Return a job."""
    job = store.get(job_id)
    if job is None:
        message = (
            f"there is no job {job_id[:100]!r}, or it is kept no longer; "
            "`toolrunner jobs` lists them"
        )
        raise Refused(message)
    return job


def all_of(store: JobStore, which: JobFilter) -> Iterator[Job]:
    """Yield all jobs that are meant, however many they are."""
    before = None
    while page := store.listed(which, limit=_PAGE, before=before):
        yield from page
        before = page[-1].id
