"""Rows that no step can read or change: each is that job's own trouble, and no other's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import psycopg
import pytest

from tests.runner.jobs.conftest import OpenStore, Store, in_postgres
from tests.runner.jobs.test_store import RUNNABLE, added, claimed, lost, seen
from toolrunner.runner.jobs.job import JobFilter, JobStatus, QueueFullError
from toolrunner.runner.jobs.store import Claim

# What a counter holds at most, and how infinity is written.
IN_POSTGRES = {"most": 2**31 - 1, "infinite": "'Infinity'"}
IN_SQLITE = {"most": 2**63 - 1, "infinite": "9e999"}
EVERYBODY = JobFilter(None)


def poison(open_store: OpenStore, job_id: str, values: str) -> None:
    """Write into a job's row what no toolrunner has written."""
    if open_store.url:
        with psycopg.connect(open_store.url, autocommit=True) as database:
            query = f"UPDATE toolrunner.jobs SET {values} WHERE id = %s"
            database.execute(query.format(**IN_POSTGRES).encode(), (job_id,))
        return
    file = sqlite3.connect(open_store._folder / "jobs.sqlite3", isolation_level=None)
    file.execute(f"UPDATE jobs SET {values} WHERE id = ?".format(**IN_SQLITE), (job_id,))
    file.close()


def is_told_once(caplog: pytest.LogCaptureFixture, job_id: str) -> bool:
    """Whether the log names a job in one line."""
    return [job_id in record.getMessage() for record in caplog.records].count(True) == 1


@pytest.mark.parametrize(
    "values",
    [
        "attempts = {most}",
        "events = {most}",
        "status = 'DELAYED'",
        "error = '{{'",
        "error = '[1]'",
        "created = 1e300",
        "progress = {infinite}",
    ],
)
def test_a_damaged_row_holds_up_no_other_job(
    open_store: OpenStore, values: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It has failed and says why, also in lists; the log has it once, by its id."""
    store = open_store()
    bad, good = added(store), added(store)
    poison(open_store, bad.id, values)
    assert {job.id for job in store.listed(EVERYBODY, limit=9, before=None)} == {bad.id, good.id}
    assert sum(store.counts().values()) == 2
    store.figures()
    claim = claimed(store)
    assert claim.job.id == good.id
    assert store.claim(RUNNABLE) is None
    assert store.finish(claim, JobStatus.SUCCESS, result={})
    for _ in range(2):
        found = seen(store, bad.id)
        assert found.status is JobStatus.FAILED
        assert found.error is not None
        assert found.error["details"]["blame"] == "host"
        assert "row in the job store" in found.error["message"]
        [_, listed] = store.listed(EVERYBODY, limit=9, before=None)
        assert listed == found
    assert is_told_once(caplog, bad.id)
    assert store.claim(RUNNABLE) is None
    claimed_after = added(store)
    assert claimed(store).job.id == claimed_after.id


def test_a_damaged_row_of_the_dead_holds_up_no_other_job(open_store: OpenStore) -> None:
    """What else their process ran is taken back."""
    store = open_store()
    bad, good = added(store, retries=1), added(store, retries=1)
    open_store.die(lambda dying: [claimed(dying), claimed(dying)])
    poison(open_store, bad.id, "deaths = {most}")
    assert store.recover(lost) == 2
    assert seen(store, good.id).status is JobStatus.PENDING
    found = seen(store, bad.id)
    assert (found.status, found.ended_at is not None) == (JobStatus.FAILED, True)
    assert store.recover(lost) == 0


STEPS: dict[str, Callable[[Store, Claim], object]] = {
    "finish": lambda store, claim: store.finish(claim, JobStatus.SUCCESS, result={}),
    "abandon": lambda store, claim: store.abandon(claim, {"type": "SandboxError"}),
    "give_back": lambda store, claim: store.give_back(claim),
    "progress": lambda store, claim: store.progress(claim, 0.5, "half"),
}


@pytest.mark.parametrize("step", STEPS)
def test_no_step_of_a_damaged_row_is_tried_for_ever(open_store: OpenStore, step: str) -> None:
    """Who runs it is rid of it: its place is for others."""
    store = open_store()
    job = added(store)
    claim = claimed(store)
    poison(open_store, job.id, "events = {most}")
    assert not STEPS[step](store, claim)
    found = seen(store, job.id)
    assert (found.status, found.ended_at is not None) == (JobStatus.FAILED, True)
    assert not store.finish(claim, JobStatus.SUCCESS, result={})


@pytest.mark.parametrize("values", ["events = {most}", "status = 'DELAYED'"])
def test_a_damaged_row_can_be_cancelled_and_purged(open_store: OpenStore, values: str) -> None:
    """So an operator gets rid of it."""
    store = open_store()
    job = added(store)
    poison(open_store, job.id, values)
    store.cancel(job.id)
    assert seen(store, job.id).status is JobStatus.FAILED
    assert store.purge([job.id]) == 1
    assert store.get(job.id) is None


def test_what_cannot_be_read_of_events_is_left_out(open_store: OpenStore) -> None:
    """The others are told."""
    store = open_store()
    job = added(store)
    claimed(store)
    for number, data in enumerate(("{", "[]", '{"status": 5}', '{"status": "DELAYED"}'), 11):
        values = f"(SELECT seq FROM {{}}jobs WHERE id = '{job.id}'), {number}, 'status', '{data}'"
        query = f"INSERT INTO {{}}events (job, number, kind, data) SELECT {values}"
        if open_store.url:
            with psycopg.connect(open_store.url, autocommit=True) as database:
                database.execute(query.replace("{}", "toolrunner.").encode())
        else:
            file = sqlite3.connect(open_store._folder / "jobs.sqlite3", isolation_level=None)
            file.execute(query.replace("{}", ""))
            file.close()
    assert [event.number for event in store.events(job.id, 0)] == [1, 2]


def test_sizes_beyond_all_measure_are_refused_in_words(open_store: OpenStore) -> None:
    """What waits is more than anybody has: there is no room, and no bug."""
    store = open_store(max_pending_bytes=1000)
    for job in (added(store), added(store)):
        poison(open_store, job.id, f"payload_bytes = {2**63 - 1}")
    with pytest.raises(QueueFullError, match="max_jobs_mb"):
        added(store)


@in_postgres
def test_a_place_beyond_all_others_is_one_all_the_same(open_store: OpenStore) -> None:
    """Who comes next has the last place too."""
    store = open_store()
    job = added(store)
    poison(open_store, job.id, "tag = {most}")
    added(store)
    assert claimed(store).job.id == job.id
    added(store)


@in_postgres
def test_a_fault_of_the_database_is_no_jobs_damage(open_store: OpenStore) -> None:
    """What it refuses of every row, as by a constraint that somebody has added, ends none."""
    store = open_store()
    job = added(store)
    with psycopg.connect(open_store.url, autocommit=True) as database:
        table = "ALTER TABLE toolrunner.jobs"
        database.execute(f"{table} ADD CONSTRAINT none CHECK (status <> 'RUNNING')".encode())
        with pytest.raises(psycopg.IntegrityError):
            store.claim(RUNNABLE)
        assert seen(store, job.id).status is JobStatus.PENDING
        database.execute(f"{table} DROP CONSTRAINT none".encode())
    assert claimed(store).job.id == job.id
