"""The store: what it keeps, who may take what, and that nothing is lost or done twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import OpenStore
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.job import (
    IdempotencyConflictError,
    Job,
    JobStatus,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import Claim
from toolrunner.runner.state.leases import Lease

FORK = multiprocessing.get_context("fork")


def lost(job: Job) -> dict[str, Any]:
    """Return the error of a job whose process has died."""
    return {"type": "InternalError", "message": f"lost in attempt {job.attempts}"}


def added(store: SqliteJobStore, plugin: str = "sample", **keys: Any) -> Job:
    """Store a job, and return it."""
    job, is_new = store.add(Submission(plugin, keys.pop("payload", {"n": 1}), **keys))
    assert is_new
    return job


def claimed(store: SqliteJobStore) -> Claim:
    """Take a job that has to be there."""
    claim = store.claim()
    assert claim is not None
    return claim


def seen(store: SqliteJobStore, job_id: str) -> Job:
    """Return a job that has to be there."""
    job = store.get(job_id)
    assert job is not None
    return job


def statuses(store: SqliteJobStore, job_id: str) -> list[str]:
    """Return every status that a job has told of."""
    return [event.data["status"] for event in store.events(job_id, 0) if event.kind == "status"]


@pytest.mark.parametrize(
    "payload",
    [
        {"image": b"\x00\xff raw", "mime_type": "image/png", "options": {"n": 1}},
        {"image": b"", "mime_type": "image/png"},
        {"image": "aGVsbG8=", "mime_type": "image/png"},
        {"text": "ä \U0001f600", "deep": [{"a": None}]},
        {},
    ],
    ids=["bytes", "no bytes", "base64", "json", "nothing"],
)
def test_a_payload_comes_back_as_it_was(store: SqliteJobStore, payload: dict[str, Any]) -> None:
    """Whoever claims a job gets what was submitted, images as bytes."""
    added(store, payload=payload)
    assert claimed(store).payload == payload


def test_a_job_goes_its_way(store: SqliteJobStore) -> None:
    """Pending, running, ended: each is seen in the job and told as an event."""
    job = added(store)
    assert (job.status, job.attempts, job.started_at) == (JobStatus.PENDING, 0, None)
    claim = claimed(store)
    assert (claim.job.status, claim.job.attempts) == (JobStatus.RUNNING, 1)
    store.progress(claim, 0.5, "half")
    assert seen(store, job.id).progress == 0.5
    assert store.finish(claim, JobStatus.SUCCESS, result={"answer": 42})
    ended = seen(store, job.id)
    assert (ended.status, ended.progress, ended.error) == (JobStatus.SUCCESS, 1.0, None)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert store.result(job.id) == {"answer": 42}
    events = store.events(job.id, 0)
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert events[2].data == {"fraction": 0.5, "message": "half"}
    assert [event.number for event in store.events(job.id, 2)] == [3, 4]


def test_a_failed_job_keeps_its_error_and_has_no_result(store: SqliteJobStore) -> None:
    """What went wrong is there to be read."""
    job = added(store)
    store.finish(claimed(store), JobStatus.FAILED, error={"type": "PluginCrashed"})
    assert seen(store, job.id).error == {"type": "PluginCrashed"}
    assert store.result(job.id) is None


def test_nothing_to_claim_is_no_error(store: SqliteJobStore) -> None:
    """An empty queue gives nothing, and neither does an unknown id."""
    assert store.claim() is None
    assert store.get("nobody") is None
    assert store.cancel("nobody") is None
    assert store.events("nobody", 0) == []


def test_a_job_is_claimed_once(open_store: OpenStore) -> None:
    """Many threads over several connections take every job, and none twice."""
    stores = [open_store() for _ in range(3)]
    ids = {added(stores[0]).id for _ in range(60)}

    def take(store: SqliteJobStore) -> list[str]:
        taken = []
        while (claim := store.claim()) is not None:
            taken.append(claim.job.id)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for found in pool.map(take, stores * 2) for job_id in found]
    assert Counter(taken) == Counter(ids)


def test_callers_and_plugins_have_their_turn_alike(store: SqliteJobStore) -> None:
    """Whoever has stored a hundred jobs does not hold up who has stored one."""
    for _ in range(5):
        added(store, caller="busy", plugin="slow")
    added(store, caller="busy", plugin="quick")
    added(store, caller="calm", plugin="slow")
    order = [(c.job.caller, c.job.plugin) for c in (claimed(store) for _ in range(4))]
    assert order == [
        ("busy", "slow"),
        ("calm", "slow"),
        ("busy", "quick"),
        ("busy", "slow"),
    ]


def test_the_oldest_is_first(store: SqliteJobStore) -> None:
    """Among equals the order of arrival counts."""
    ids = [added(store).id for _ in range(5)]
    taken = []
    for _ in ids:
        claim = claimed(store)
        taken.append(claim.job.id)
        store.finish(claim, JobStatus.SUCCESS, result={})
    assert taken == ids


def test_the_queue_is_bounded(open_store: OpenStore) -> None:
    """One job too many is Overloaded, nothing of it stays, and there is room again later."""
    store = open_store(max_pending=2)
    added(store)
    added(store)
    with pytest.raises(QueueFullError) as caught:
        added(store)
    assert caught.value.error_type is ErrorType.OVERLOADED
    assert caught.value.details["retry_after_seconds"] == 5
    claimed(store)
    added(store)


def test_one_key_is_one_job(store: SqliteJobStore) -> None:
    """The same request again is the same job, of this caller alone."""
    first = Submission("sample", {"n": 1}, caller="a", idempotency_key="k")
    job, is_new = store.add(first)
    assert is_new
    assert store.add(first) == (job, False)
    other, is_new = store.add(Submission("sample", {"n": 1}, caller="b", idempotency_key="k"))
    assert is_new
    assert other.id != job.id


@pytest.mark.parametrize(
    "other",
    [
        Submission("sample", {"n": 2}, idempotency_key="k"),
        Submission("another", {"n": 1}, idempotency_key="k"),
        Submission("sample", {"n": 1}, retries=1, idempotency_key="k"),
    ],
    ids=["payload", "plugin", "retries"],
)
def test_one_key_for_two_requests_is_a_conflict(store: SqliteJobStore, other: Submission) -> None:
    """The first job stays as it is."""
    store.add(Submission("sample", {"n": 1}, idempotency_key="k"))
    with pytest.raises(IdempotencyConflictError):
        store.add(other)
    assert store.counts()[JobStatus.PENDING] == 1


def test_many_at_once_with_one_key_are_one_job(open_store: OpenStore) -> None:
    """A client that repeats itself in parallel gets one job, and one payload is kept."""
    stores = [open_store() for _ in range(4)]
    submission = Submission("sample", {"image": b"x" * 1000}, idempotency_key="k")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda store: store.add(submission), stores * 4))
    assert len({job.id for job, _ in found}) == 1
    assert sum(is_new for _, is_new in found) == 1


def test_a_pending_job_is_cancelled_at_once(store: SqliteJobStore) -> None:
    """It never runs, and its payload is gone."""
    job = added(store)
    cancelled = store.cancel(job.id)
    assert cancelled is not None
    assert cancelled.status is JobStatus.CANCELLED
    assert store.claim() is None
    assert statuses(store, job.id) == ["PENDING", "CANCELLED"]


def test_a_running_job_is_withdrawn_from_who_runs_it(open_store: OpenStore) -> None:
    """Its process hears of it, others do not, and an ended job stays as it ended."""
    mine, other = open_store(), open_store()
    job = added(mine)
    claim = claimed(mine)
    assert other.cancel(job.id) is not None
    assert mine.withdrawn() == {job.id}
    assert other.withdrawn() == set()
    assert mine.finish(claim, JobStatus.CANCELLED)
    assert mine.withdrawn() == set()
    again = other.cancel(job.id)
    assert again is not None
    assert again.status is JobStatus.CANCELLED


def test_a_job_that_is_given_back_is_run_by_another(open_store: OpenStore) -> None:
    """Nothing of the first attempt counts any more, not even when it ends late."""
    mine, other = open_store(), open_store()
    job = added(mine)
    claim = claimed(mine)
    mine.give_back(claim)
    assert seen(mine, job.id).status is JobStatus.PENDING
    second = claimed(other)
    assert second.job.attempts == 2
    assert not mine.finish(claim, JobStatus.SUCCESS, result={"attempt": 1})
    assert other.finish(second, JobStatus.SUCCESS, result={"attempt": 2})
    assert mine.result(job.id) == {"attempt": 2}


def test_a_withdrawn_job_that_is_given_back_is_cancelled(store: SqliteJobStore) -> None:
    """Nobody runs again what nobody wants."""
    job = added(store)
    claim = claimed(store)
    store.cancel(job.id)
    store.give_back(claim)
    assert seen(store, job.id).status is JobStatus.CANCELLED


def claim_and_die(folder: Path, jobs: int) -> None:
    """Run in a process of its own: take some jobs, and be killed with them."""
    lease = Lease(folder / "workers")
    store = SqliteJobStore(folder, lease, max_pending=1000, keep_seconds=60, keep_bytes=1 << 20)
    for _ in range(jobs):
        claimed(store)
    os.kill(os.getpid(), signal.SIGKILL)


def die_with(folder: Path, jobs: int) -> None:
    """Let a process die that has taken so many jobs."""
    process = FORK.Process(target=claim_and_die, args=(folder, jobs))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_jobs_of_a_killed_process_end_or_run_again_by_their_retries(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """With a retry left it is pending again; without, failed, with the reason."""
    store = open_store()
    once, again, waiting = added(store), added(store, retries=1), added(store)
    die_with(tmp_path / "state", 2)
    assert store.recover(lost) == 2
    assert store.recover(lost) == 0
    failed = seen(store, once.id)
    assert (failed.status, failed.attempts) == (JobStatus.FAILED, 1)
    assert failed.error == {"type": "InternalError", "message": "lost in attempt 1"}
    assert failed.ended_at is not None
    assert seen(store, again.id).status is JobStatus.PENDING
    assert seen(store, waiting.id).status is JobStatus.PENDING
    die_with(tmp_path / "state", 1)
    assert store.recover(lost) == 1
    twice = seen(store, again.id)
    assert (twice.status, twice.attempts) == (JobStatus.FAILED, 2)
    assert statuses(store, again.id) == ["PENDING", "RUNNING", "PENDING", "RUNNING", "FAILED"]


def test_jobs_of_the_living_are_left_alone(open_store: OpenStore) -> None:
    """Another process's running job is its own as long as it lives."""
    mine, other = open_store(), open_store()
    job = added(mine)
    claim = claimed(mine)
    assert other.recover(lost) == 0
    assert seen(other, job.id).status is JobStatus.RUNNING
    assert mine.finish(claim, JobStatus.SUCCESS, result={})


def test_a_withdrawn_job_of_a_killed_process_is_cancelled(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Its caller wanted nothing more of it."""
    store = open_store()
    job = added(store, retries=5)
    lease = Lease(tmp_path / "state" / "workers")
    dying = SqliteJobStore(
        tmp_path / "state", lease, max_pending=9, keep_seconds=60, keep_bytes=1 << 20
    )
    claimed(dying)
    store.cancel(job.id)
    dying.close()
    lease.close()
    assert store.recover(lost) == 1
    assert seen(store, job.id).status is JobStatus.CANCELLED


def test_what_is_stored_is_there_after_a_kill(open_store: OpenStore, tmp_path: Path) -> None:
    """A process killed right after it stored a job has stored it."""

    def store_and_die(folder: Path) -> None:
        lease = Lease(folder / "workers")
        store = SqliteJobStore(folder, lease, max_pending=9, keep_seconds=60, keep_bytes=1 << 20)
        added(store, payload={"image": b"kept"})
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=store_and_die, args=(tmp_path / "state",))
    process.start()
    process.join()
    assert claimed(open_store()).payload == {"image": b"kept"}


def test_a_job_without_its_payload_fails_and_holds_up_nobody(
    store: SqliteJobStore, tmp_path: Path
) -> None:
    """A file that somebody has deleted is that job's fault alone."""
    job, other = added(store), added(store)
    (tmp_path / "state" / "payloads" / job.id).unlink()
    assert claimed(store).job.id == other.id
    failed = seen(store, job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error["type"] == "InternalError"
    assert str(tmp_path) not in str(failed.error)


def ended(store: SqliteJobStore, size: int) -> Job:
    """Store a job and end it with a result of about so many bytes."""
    job = added(store)
    assert store.finish(claimed(store), JobStatus.SUCCESS, result={"x": "y" * size})
    return job


def test_old_jobs_are_deleted(open_store: OpenStore, tmp_path: Path) -> None:
    """What has ended long enough ago goes, with its files; what has not ended stays."""
    store = open_store(keep_seconds=0)
    gone, waiting = ended(store, 10), added(store)
    assert store.clean() == 1
    assert store.get(gone.id) is None
    assert store.result(gone.id) is None
    assert store.events(gone.id, 0) == []
    assert seen(store, waiting.id).status is JobStatus.PENDING
    assert list((tmp_path / "state" / "results").iterdir()) == []
    assert [p.name for p in (tmp_path / "state" / "payloads").iterdir()] == [waiting.id]


def test_results_beyond_the_size_are_deleted_from_the_oldest_on(open_store: OpenStore) -> None:
    """The newest ones are kept as long as they fit."""
    store = open_store(keep_bytes=2500)
    jobs = [ended(store, 1000) for _ in range(4)]
    assert store.clean() == 2
    assert [store.get(job.id) is None for job in jobs] == [True, True, False, False]


def test_files_that_nobody_knows_are_deleted_once_they_are_old(
    store: SqliteJobStore, tmp_path: Path
) -> None:
    """What a dying server left between two steps does not pile up; what is new may be in use."""
    job = added(store)
    payloads = tmp_path / "state" / "payloads"
    old, new = payloads / "old.part", payloads / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    for path in (old, payloads / job.id):
        os.utime(path, (1, 1))
    store.clean()
    assert sorted(path.name for path in payloads.iterdir()) == sorted([job.id, "new"])


def test_a_list_is_of_one_caller_newest_first(store: SqliteJobStore) -> None:
    """It can be gone through page by page, and by status."""
    mine = [added(store, caller="me").id for _ in range(5)]
    added(store, caller="you")
    first = store.of_caller("me", status=None, limit=2, before=None)
    assert [job.id for job in first] == [mine[4], mine[3]]
    rest = store.of_caller("me", status=None, limit=9, before=first[-1].id)
    assert [job.id for job in rest] == [mine[2], mine[1], mine[0]]
    store.cancel(mine[0])
    cancelled = store.of_caller("me", status=JobStatus.CANCELLED, limit=9, before=None)
    assert [job.id for job in cancelled] == [mine[0]]


def test_what_it_keeps_is_for_its_owner_alone(store: SqliteJobStore, tmp_path: Path) -> None:
    """Payloads are other people's."""
    added(store)
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_store_of_another_version_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    """It says which file, and what to do."""
    (tmp_path / "state").mkdir()
    database = sqlite3.connect(tmp_path / "state" / "jobs.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OSError, match=r"jobs\.sqlite3 was written by another version"):
        open_store()


def test_a_store_that_works_passes_its_check(store: SqliteJobStore) -> None:
    """It can be written."""
    store.check()
