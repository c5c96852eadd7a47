"""A store of jobs, what has to be posted of them, and who posts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from toolrunner.runner.jobs.job import Job, JobStatus, Submission
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import Claim
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.webhooks.deliverer import Deliverer
from toolrunner.runner.webhooks.secret_file import SecretFile

ERROR = {"type": "ExecutionError", "message": "as told", "details": {"blame": "plugin"}}


class Sending:
    """One server process, as far as it has to do with webhooks."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Open what it has."""
        lease = Lease(folder / "workers")
        stack.callback(lease.close)
        self.store = SqliteJobStore(
            folder, lease, max_pending=100, keep_seconds=3600, keep_bytes=1 << 30
        )
        stack.callback(self.store.close)
        self.outbox = self.store.outbox
        self.secrets = SecretFile(folder)
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
def make_sending(tmp_path: Path) -> Iterator[Callable[[], Sending]]:
    """Return a function that makes a process over one state folder."""
    with ExitStack() as stack:
        yield lambda: Sending(tmp_path / "state", stack)


@pytest.fixture
def sending(make_sending: Callable[[], Sending]) -> Sending:
    """One process."""
    return make_sending()
