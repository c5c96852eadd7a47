"""Two servers that share their jobs: whichever is asked hears of what the other one does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.api.http.conftest import MakeSite, Site, spin
from tests.api.http.test_jobs import WAITING, Event, created, events_of
from toolrunner.api.http import events
from toolrunner.runner.jobs.job import Event as JobEvent
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.store import Claim
from toolrunner.runner.settings.database_url import DatabaseUrl

BREAK = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND query LIKE 'LISTEN %'"
)


@pytest.fixture
def kept(database: str, tmp_path: Path) -> dict[str, Any]:
    """The settings that say where jobs are kept: in PostgreSQL."""
    return {"jobs": database, "blobs": (tmp_path / "blobs").as_uri()}


class Stream:
    """What a client has read of a job's events so far."""

    def __init__(self) -> None:
        self.text = ""

    @property
    def events(self) -> list[Event]:
        """The whole ones."""
        return events_of(self.text.rpartition("\n\n")[0])

    @property
    def last(self) -> object:
        """What the last event says; nothing before there is one."""
        return self.events[-1][2] if self.events else None


@contextmanager
def streaming(site: Site, job_id: str) -> Iterator[Stream]:
    """Read a job's events, until they end."""
    read = Stream()

    def run() -> None:
        with site.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
            for piece in response.iter_text():
                read.text += piece

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield read
    finally:
        thread.join()


def looks(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what grows by each look of a server at a job's events."""
    made: list[str] = []
    store = site.doors.backend._store
    look = store.events

    def noted(job_id: str, after: int) -> list[JobEvent]:
        made.append(job_id)
        return look(job_id, after)

    monkeypatch.setattr(store, "events", noted)
    return made


def test_events_of_what_another_server_runs_arrive_without_asking(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing happens, nobody looks at the database, however long that lasts."""
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.005)
    asked, _runs = make_site(jobs=False), make_site()
    job_id = created(asked, WAITING)
    made = looks(asked, monkeypatch)
    with streaming(asked, job_id) as read:
        spin(lambda: read.last == {"fraction": 0.25, "message": "so far, in where"})
        before, rounds = len(made), threading.Semaphore(0)

        def closing() -> bool:
            rounds.release()
            return False

        object.__setattr__(asked.doors, "closing", closing)
        came = all(rounds.acquire(timeout=60) for _ in range(100))
        seen = len(made)
        assert asked.client.delete(f"/v1/jobs/{job_id}").json()["status"] == "CANCELLED"
    assert (came, seen) == (True, before)
    assert [event[2].get("status") for event in read.events] == [
        "PENDING",
        "RUNNING",
        None,
        "CANCELLED",
    ]


def test_a_broken_listening_connection_loses_no_event(
    make_site: MakeSite, database: str, tmp_path: Path
) -> None:
    """In mid-stream, again and again: each event comes once, in its order."""
    site = make_site(jobs=False)
    job_id = created(site, WAITING)
    store, claim = claimed(database, tmp_path)
    with psycopg.connect(database, autocommit=True) as operator, streaming(site, job_id) as read:
        for number in range(1, 7):
            spin(lambda: operator.execute(BREAK).fetchall())
            store.progress(claim, number / 10, "on")
            store.progress(claim, number / 10 + 0.05, "and on")
        spin(lambda: len(read.events) == 14)
        store.give_back(claim)
        site.client.delete(f"/v1/jobs/{job_id}")
    assert [event[0] for event in read.events] == list(range(1, 17))
    store.close()


def claimed(database: str, tmp_path: Path) -> tuple[PostgresJobStore, Claim]:
    """Return a job that another process has, and its store."""
    place = tmp_path / "blobs"
    bounds: dict[str, Any] = {"max_pending": 9, "keep_seconds": 3600.0, "keep_bytes": 1 << 30}
    store = PostgresJobStore(DatabaseUrl(database), place, **bounds)
    claim = store.claim({"sample": "1.0.0", "looks": "1.0.0"})
    assert claim is not None
    return store, claim
