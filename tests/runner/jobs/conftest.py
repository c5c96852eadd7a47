"""A store of jobs of either kind, processes that share it, and servers over it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.buckets import bucket, s3_address, s3_keys
from tests.conftest import MakeRunner, WritePlugin
from tests.runner.waiting import spin
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import Job, Submission
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.services import (
    AnalysisService,
    JobManagementService,
    PluginManagementService,
)
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.tool_runner import ToolRunner

__all__ = ["bucket", "s3_address", "s3_keys"]

Store = SqliteJobStore | PostgresJobStore
FORK = multiprocessing.get_context("fork")
# For tests that are about the SQLite file itself.
in_sqlite = pytest.mark.parametrize("kept_in", ["sqlite"], indirect=True)
in_postgres = pytest.mark.parametrize("kept_in", ["postgres"], indirect=True)
OBEDIENT = """
    import time

    def run(payload, context):
        if "progress" in payload:
            for step in range(payload.get("steps", 0)):
                context.progress(0, f"step {step}")
            context.progress(payload["progress"], "so far")
        while payload.get("wait"):
            time.sleep(0.01)
        if payload.get("fail"):
            raise ValueError("as told")
        return {"n": payload.get("n")}
"""


def _nothing() -> None:
    """End nothing."""


class OpenStore:
    """Opens the same store again, as another process would; all are closed after the test.

    ``open_store(max_pending=1000, keep_seconds=3600, keep_bytes=1 << 30)``, and
    ``max_pending_bytes``, ``keep_dead`` and ``keep_dead_bytes``.
    """

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        """Keep jobs in a folder, and their rows in a database of PostgreSQL if ``url`` is one's."""
        self._folder = folder
        self.url = url
        self._stack = stack

    def __call__(self, **bounds: Any) -> Store:
        """Open it; it is closed after the test."""
        store, end = self.apart(**bounds)
        self._stack.callback(end)
        self._stack.callback(store.close)
        return store

    def apart(
        self,
        *,
        max_pending: int = 1000,
        keep_seconds: float = 3600.0,
        keep_bytes: int = 1 << 30,
        **bounds: Any,
    ) -> tuple[Store, Callable[[], None]]:
        """Open it, for who closes it or does not; and what else its process's end would end."""
        kept: dict[str, Any] = {
            "max_pending": max_pending,
            "keep_seconds": keep_seconds,
            "keep_bytes": keep_bytes,
            **bounds,
        }
        if self.url:
            place = kept.pop("blobs", None) or self._folder
            kept = {"fresh_seconds": 0.0, **kept}
            return PostgresJobStore(DatabaseUrl(self.url), place, **kept), _nothing
        lease = Lease(self._folder / "workers")
        return SqliteJobStore(self._folder, lease, **kept), lease.close

    def die(self, target: Callable[[Store], object]) -> None:
        """Let another process do something with the store, and be killed."""

        def do_and_die() -> None:
            target(self.apart()[0])
            os.kill(os.getpid(), signal.SIGKILL)

        before = self._sessions()
        process = FORK.Process(target=do_and_die)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        spin(lambda: self._sessions() <= before)  # until PostgreSQL has noticed

    def _sessions(self) -> set[int]:
        """Return the processes of PostgreSQL that serve this store."""
        if not self.url:
            return set()
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(self.url) as connection:
            return {pid for (pid,) in connection.execute(query)}


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest) -> str:
    """Where jobs are kept: once in each kind of store."""
    return str(request.param)


@pytest.fixture
def jobs_url(kept_in: str, request: pytest.FixtureRequest) -> str:
    """What the setting ``jobs`` says."""
    if kept_in == "sqlite":
        return ""
    url = str(request.getfixturevalue("database"))
    with psycopg.connect(url) as connection:  # as one that is older than every file
        connection.execute("UPDATE toolrunner.notes SET value = 0 WHERE name = 'made'")
    return url


@pytest.fixture
def open_store(tmp_path: Path, jobs_url: str) -> Iterator[OpenStore]:
    """What opens the same store again."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        yield OpenStore(folder, jobs_url, stack)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """One store."""
    return open_store()


class Server:
    """A store, a dispatcher and the services between them, as a server has them."""

    def __init__(self, store: Store, tool_runner: ToolRunner, threads: int = 2) -> None:
        self.store = store
        self.tool_runner = tool_runner
        self.jobs = JobManagementService(PluginManagementService(tool_runner), store)
        self.analysis = AnalysisService(self.jobs)
        self.dispatcher = JobDispatcher(store, self.analysis, threads=threads)
        self.dispatcher.start()

    def create(self, plugin: str = "sample", **payload: Any) -> str:
        """Store a job, and return its id."""
        job, _ = self.analysis.submit(Submission(plugin, payload))
        self.dispatcher.wake()
        return job.id

    def job(self, job_id: str) -> Job:
        """Return a job that has to be there."""
        job = self.jobs.get_job(job_id)
        assert job is not None
        return job

    def ended(self, job_id: str) -> Job:
        """Return a job when it has ended."""
        spin(lambda: self.job(job_id).status.has_ended)
        return self.job(job_id)


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(
    open_store: OpenStore, write_plugin: WritePlugin, make_runner: MakeRunner
) -> Iterator[StartServer]:
    """Return a function that starts a server over the one store."""
    path = write_plugin(OBEDIENT)
    with ExitStack() as stack:

        def start(**settings: Any) -> Server:
            threads, bounds = settings.pop("threads", 2), settings.pop("bounds", {})
            server = Server(open_store(**bounds), make_runner(path, **settings), threads)
            stack.callback(server.dispatcher.drain, 0)
            return server

        yield start
