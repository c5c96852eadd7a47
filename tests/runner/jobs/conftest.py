"""A store of jobs in a folder of its own, and processes that share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.state.leases import Lease

OpenStore = Callable[..., SqliteJobStore]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """Return a function that opens the same store again, as another process would.

    ``open_store(max_pending=1000, keep_seconds=3600, keep_bytes=1 << 30)``.
    """
    with ExitStack() as stack:

        def open_one(
            *, max_pending: int = 1000, keep_seconds: float = 3600.0, keep_bytes: int = 1 << 30
        ) -> SqliteJobStore:
            lease = Lease(tmp_path / "state" / "workers")
            stack.callback(lease.close)
            store = SqliteJobStore(
                tmp_path / "state",
                lease,
                max_pending=max_pending,
                keep_seconds=keep_seconds,
                keep_bytes=keep_bytes,
            )
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(open_store: OpenStore) -> SqliteJobStore:
    """One store."""
    return open_store()
