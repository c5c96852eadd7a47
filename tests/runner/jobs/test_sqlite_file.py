"""The database of jobs: older, newer, damaged, emptied, deleted, not to be written."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.runner.jobs.conftest import OpenStore, in_sqlite
from tests.runner.jobs.test_store import added, claimed, ended, lost, seen
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.sqlite_rows import STEPS
from toolrunner.runner.jobs.sqlite_running import NEXT
from toolrunner.runner.jobs.store import StoreError

FORK = multiprocessing.get_context("fork")
NEWEST = len(STEPS)
pytestmark = in_sqlite
# As the first version has made it: it stays here as it was.
VERSION_1 = """
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  plugin TEXT NOT NULL,
  caller TEXT NOT NULL,
  status TEXT NOT NULL,
  progress REAL,
  created REAL NOT NULL,
  started REAL,
  ended REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL,
  worker TEXT,
  withdrawn INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  result_bytes INTEGER NOT NULL DEFAULT 0,
  idempotency_key TEXT,
  fingerprint TEXT NOT NULL,
  events INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency
  ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, seq);
CREATE INDEX jobs_caller ON jobs (caller, seq);
CREATE TABLE events (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO jobs (id, plugin, caller, status, created, attempts, retries, fingerprint, events)
  VALUES ('waiting', 'sample', 'me', 'PENDING', 1.0, 0, 0, 'x', 1);
INSERT INTO events VALUES (1, 1, 'status', '{"status": "PENDING"}');
INSERT INTO jobs (id, plugin, caller, status, created, started, ended, attempts, retries,
    fingerprint)
  VALUES ('done', 'sample', 'me', 'SUCCESS', 1.0, 2.0, 3.0, 3, 0, 'y');
PRAGMA user_version = 1;
"""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A database of the first version, with a job that waits and one that has ended."""
    folder = tmp_path / "state"
    for name in ("payloads", "results"):
        (folder / name).mkdir(parents=True)
    (folder / "payloads" / "waiting").write_bytes((4).to_bytes(8, "big") + b"{}")
    (folder / "results" / "done.3.json").write_text('{"n": 1}')
    path = folder / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(VERSION_1)
    return path


def test_an_older_file_is_brought_up_to_date(
    old_file: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Its jobs are there, waiting ones run, and what it was is kept beside it, for its owner."""
    with caplog.at_level(logging.WARNING):
        store = open_store()
    assert f"was of version 1 and is now of version {NEWEST}" in caplog.text
    assert seen(store, "done").attempts == 3
    assert store.result("done") == {"n": 1}
    claim = claimed(store)
    assert (claim.job.id, store.payload(claim)) == ("waiting", {})
    assert store.finish(claim, JobStatus.SUCCESS, result={"n": 2})
    assert store.result("waiting") == {"n": 2}
    assert [event.number for event in store.events("waiting", 0)] == [1, 2, 3]
    store.check()
    copy = old_file.with_name("jobs.sqlite3.v1")
    assert copy.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(copy)) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (1,)
        statuses = kept.execute("SELECT status FROM jobs ORDER BY seq").fetchall()
        assert statuses == [("PENDING",), ("SUCCESS",)]
    assert not list(old_file.parent.glob("*.part"))
    with closing(sqlite3.connect(old_file)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (NEWEST,)


def test_many_processes_may_find_an_older_file_at_once(
    old_file: Path, open_store: OpenStore
) -> None:
    """As the workers of a server do: it is brought up to date once, and all go on."""

    def look() -> None:
        os._exit(0 if open_store().get("waiting") is not None else 1)

    processes = [FORK.Process(target=look) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert old_file.with_name("jobs.sqlite3.v1").exists()
    assert seen(open_store(), "waiting").status is JobStatus.PENDING


def test_without_its_copy_nothing_is_changed(old_file: Path, open_store: OpenStore) -> None:
    """Where it cannot be copied it stays what it was, and the store says so until it can."""
    in_the_way = old_file.with_name("jobs.sqlite3.v1")
    in_the_way.mkdir()
    store = open_store()
    with pytest.raises(StoreError, match="cannot be used"):
        store.check()
    with closing(sqlite3.connect(old_file)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    in_the_way.rmdir()
    assert seen(open_store(), "waiting").status is JobStatus.PENDING


def test_a_newer_file_is_refused_by_its_version(open_store: OpenStore, tmp_path: Path) -> None:
    """With what to do; and nothing of it is touched."""
    open_store().close()
    path = tmp_path / "state" / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {NEWEST + 1}")
    store = open_store()
    with pytest.raises(StoreError) as caught:
        store.check()
    words = str(caught.value)
    assert f"jobs.sqlite3 is of version {NEWEST + 1}" in words
    assert "start the newer toolrunner again" in words
    assert f"jobs.sqlite3.v{NEWEST}" in words
    with pytest.raises(StoreError):
        store.add(Submission("sample", {}))
    assert list((tmp_path / "state" / "payloads").iterdir()) == []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (NEWEST + 1,)


def test_a_damaged_file_is_used_again_when_it_is_back(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """The store says what to do, and goes on with the copy that was put in its place."""
    first = open_store()
    job = added(first)
    first.close()
    path = tmp_path / "state" / "jobs.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * len(whole))
    store = open_store()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"jobs\.sqlite3 is damaged .*put a copy of it back"):
            store.check()
    path.write_bytes(whole)
    again = open_store()
    again.check()
    assert seen(again, job.id).status is JobStatus.PENDING


@pytest.mark.parametrize("how", ["deleted", "emptied"])
@pytest.mark.parametrize("while_open", [True, False])
def test_a_file_that_was_lost_is_noticed_and_its_results_are_kept(
    how: str,
    while_open: bool,
    open_store: OpenStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No clean-up takes them for strays; the check says so until they are moved, or it is back."""
    first = open_store()
    job = ended(first, 10)
    result = tmp_path / "state" / "results" / f"{job.id}.1.json"
    os.utime(result, (1, 1))
    path = tmp_path / "state" / "jobs.sqlite3"
    if not while_open:
        first.close()
    if how == "deleted":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(0)
    store = first if while_open else open_store()
    if how == "emptied" and while_open:
        # Its log may hold all of it still; what matters is that somebody is told.
        store.get(job.id)
        assert "jobs.sqlite3 was deleted, emptied or replaced" in caplog.text
        store.clean()
        assert result.exists()
        return
    for _ in range(2):
        with pytest.raises(StoreError, match=r"jobs\.sqlite3 is new, and 1 files .* are of jobs"):
            store.check()
    assert "jobs.sqlite3 is new" in caplog.text
    new = added(store)
    store.clean()
    assert claimed(store).job.id == new.id
    assert result.exists()
    result.unlink()
    store.check()
    open_store().check()


@pytest.mark.parametrize("what", ["payloads", "results", "artifacts"])
def test_a_folder_that_is_of_no_use_is_named(
    open_store: OpenStore, tmp_path: Path, what: str
) -> None:
    """With whom to let write it; a job that cannot be kept is not accepted."""
    store = open_store()
    place = tmp_path / "state" / what
    place.rmdir()
    place.touch()
    with pytest.raises(StoreError, match=f"{what} cannot be used .*let the user who serves"):
        store.check()
    if what == "payloads":
        with pytest.raises(StoreError, match=r"payloads.* cannot be used"):
            added(store)
    assert store.counts()[JobStatus.PENDING] == 0
    place.unlink()
    store.check()
    added(store)


def test_a_file_that_cannot_be_opened_is_named(open_store: OpenStore, tmp_path: Path) -> None:
    """And it is opened as soon as it can be."""
    path = tmp_path / "state" / "jobs.sqlite3"
    path.mkdir(parents=True)
    store = open_store()
    with pytest.raises(StoreError, match=r"jobs\.sqlite3 cannot be used .*let the user who serves"):
        store.check()
    path.rmdir()
    again = open_store()
    again.check()
    added(again)


def test_a_worker_of_before_is_found_dead(old_file: Path, open_store: OpenStore) -> None:
    """Its job ends by its retries, under the new version as under the old one."""
    with closing(sqlite3.connect(old_file)) as database:
        database.execute(
            "UPDATE jobs SET status = 'RUNNING', worker = 'gone', attempts = 1 WHERE id = 'waiting'"
        )
        database.commit()
    (old_file.parent / "workers").mkdir(exist_ok=True)
    (old_file.parent / "workers" / "gone").touch()  # nobody holds it
    store = open_store()
    assert store.recover(lost) == 1
    assert seen(store, "waiting").status is JobStatus.FAILED


def test_a_claim_looks_at_those_alone_that_wait(open_store: OpenStore, tmp_path: Path) -> None:
    """However many jobs are kept: each process claims ten times a second."""
    open_store().close()
    values = {"runnable": '{"sample": "1.0.0"}'}
    [path] = tmp_path.rglob("jobs.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        plan = database.execute(f"EXPLAIN QUERY PLAN {NEXT}", values).fetchall()
    looks = [row[3] for row in plan if " jobs " in row[3] or " waiting " in row[3]]
    quick = ("jobs_status (status=?)", "jobs_pending (status=?)")
    assert all(one.startswith("SEARCH") and one.endswith(quick) for one in looks), looks
    assert any(one.endswith("jobs_pending (status=?)") for one in looks)
