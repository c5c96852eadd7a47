"""A store of jobs, what has to be posted of them, and who posts it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from toolrunner.runner.jobs.job import Job, JobStatus, Submission
from toolrunner.runner.jobs.postgres.connections import SCHEMA
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import Claim
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.webhooks.deliverer import Deliverer
from toolrunner.runner.webhooks.secret_file import SecretFile
from toolrunner.runner.webhooks.signing import Secrets

# For what holds wherever jobs are kept; all else is tried with SQLite alone.
in_both = pytest.mark.parametrize("kept_in", ["sqlite", "postgres"], indirect=True)
in_postgres = pytest.mark.parametrize("kept_in", ["postgres"], indirect=True)
ERROR = {"type": "ExecutionError", "message": "as told", "details": {"blame": "plugin"}}


class Sending:
    """One server process, as far as it has to do with webhooks."""

    def __init__(self, folder: Path, stack: ExitStack, url: str = "") -> None:
        """Open what it has: in PostgreSQL, if ``url`` is of a database."""
        bounds: dict[str, Any] = {"max_pending": 100, "keep_seconds": 3600, "keep_bytes": 1 << 30}
        self.store: PostgresJobStore | SqliteJobStore
        self.secrets: Secrets
        if url:
            self.store = PostgresJobStore(DatabaseUrl(url), folder, fresh_seconds=0.0, **bounds)
            self.secrets = self.store.secrets
        else:
            lease = Lease(folder / "workers")
            stack.callback(lease.close)
            self.store = SqliteJobStore(folder, lease, **bounds)
            self.secrets = SecretFile(folder)
        stack.callback(self.store.close)
        self.outbox = self.store.outbox
        self._stack = stack

    def post_to(self, *urls: str, **options: Any) -> Deliverer:
        """Post from now on; without delays, unless ``options`` say so."""
        quick: dict[str, Any] = {"delays": (0.0,) * 5, "resting": lambda *_: 0.0}
        deliverer = Deliverer(self.outbox, self.secrets, keep_seconds=3600, **{**quick, **options})
        self._stack.callback(deliverer.drain, 0)
        deliverer.post_to(urls)
        deliverer.start()
        return deliverer

    def claimed(self) -> Claim:
        """Return a job that runs."""
        self.store.add(Submission("sample", {"n": 1}))
        claim = self.store.claim({"sample": ""})
        assert claim is not None
        assert self.store.begin(claim)
        return claim

    def ended(self, how: JobStatus = JobStatus.SUCCESS) -> Job:
        """Return a job that has ended."""
        claim = self.claimed()
        failed = how is JobStatus.FAILED
        result = {"secret": "result"} if how is JobStatus.SUCCESS else None
        assert self.store.finish(claim, how, result=result, error=ERROR if failed else None)
        return claim.job

    def waiting(self) -> int:
        """Return how many messages wait."""
        return sum(one.waiting for one in self.outbox.statuses())


@pytest.fixture
def kept_in(request: pytest.FixtureRequest) -> str:
    """Where jobs are kept."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def make_sending(
    tmp_path: Path, kept_in: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Sending]]:
    """Return a function that makes a process over one store of jobs."""
    url = str(request.getfixturevalue("database")) if kept_in == "postgres" else ""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        yield lambda: Sending(folder, stack, url)


@pytest.fixture
def execute(tmp_path: Path, kept_in: str, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that changes the database as no toolrunner does."""

    def change(statement: str) -> None:
        if kept_in == "postgres":
            url = str(request.getfixturevalue("database"))
            options = f"-c search_path={SCHEMA}"
            with psycopg.connect(url, options=options) as database:
                database.execute(statement.encode())
        else:
            with closing(sqlite3.connect(tmp_path / "state" / "jobs.sqlite3")) as file, file:
                file.execute(statement)

    return change


@pytest.fixture
def sending(make_sending: Callable[[], Sending]) -> Sending:
    """One process."""
    return make_sending()
