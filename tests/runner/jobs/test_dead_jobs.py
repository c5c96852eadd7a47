"""Dead jobs: failed for good, kept with their payloads until they are retried or purged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import OpenStore, Store
from toolrunner.runner.jobs.job import (
    Job,
    JobFilter,
    JobStatus,
    NotDeadError,
    QueueFullError,
    Submission,
)

RUNNABLE = {"sample": "2"}
EVERYBODY = JobFilter(None)


def error(blame: str = "plugin") -> dict[str, Any]:
    """Return what a job has failed with."""
    return {"type": "ExecutionError", "message": "as told", "details": {"blame": blame}}


def ended(
    store: Store,
    status: JobStatus = JobStatus.FAILED,
    *,
    blame: str = "plugin",
    caller: str = "me",
    payload: dict[str, Any] | None = None,
) -> Job:
    """Return a job that has ended so."""
    store.add(Submission("sample", payload or {"n": 1}, caller=caller, version="2"))
    claim = store.claim(RUNNABLE)
    assert claim is not None
    is_failed = status is JobStatus.FAILED
    store.finish(
        claim,
        status,
        result={} if status is JobStatus.SUCCESS else None,
        error=error(blame) if is_failed else None,
    )
    return seen(store, claim.job.id)


def seen(store: Store, job_id: str) -> Job:
    """Return a job that is there."""
    job = store.get(job_id)
    assert job is not None
    return job


def ids(store: Store, which: JobFilter) -> list[str]:
    """Return the jobs that are meant."""
    return [job.id for job in store.listed(which, limit=100, before=None)]


def test_what_failed_by_another_fault_than_its_callers_is_dead(open_store: OpenStore) -> None:
    """It may do better another time; what would fail again, or has not failed, is not."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    dead = [ended(store, blame=blame).id for blame in ("plugin", "host")]
    others = [
        ended(store, blame="caller").id,
        ended(store, JobStatus.SUCCESS).id,
        ended(store, JobStatus.CANCELLED).id,
    ]
    assert ids(store, JobFilter(None, is_dead=True)) == dead[::-1]
    assert ids(store, JobFilter("me", is_dead=False)) == others[::-1]
    assert seen(store, dead[0]).is_dead


def test_a_lost_attempt_can_be_the_end_of_it(open_store: OpenStore) -> None:
    """What a host's death has ended is dead as well."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    store.add(Submission("sample", {"n": 1}))
    claim = store.claim(RUNNABLE)
    assert claim is not None
    store.abandon(claim, error("host"))
    assert seen(store, claim.job.id).is_dead
    assert store.retry(claim.job.id)
    again = store.claim(RUNNABLE)
    assert again is not None
    assert store.payload(again) == {"n": 1}


def test_a_dead_job_is_retried_as_the_one_that_it_is(open_store: OpenStore) -> None:
    """With its payload, image and all, its id, its events, and whatever version there is now."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    payload = {"image": b"\x89PNG", "mime_type": "image/png"}
    job = ended(store, payload=payload)
    retried = store.retry(job.id)
    assert retried is not None
    assert (retried.id, retried.status, retried.is_dead) == (job.id, JobStatus.PENDING, False)
    assert (retried.error, retried.ended_at, retried.started_at) == (None, None, None)
    claim = store.claim({"sample": "3"})
    assert claim is not None
    assert (claim.job.id, claim.job.attempts) == (job.id, 2)
    assert store.payload(claim) == payload
    store.finish(claim, JobStatus.SUCCESS, result={"ok": True})
    assert store.result(job.id) == {"ok": True}
    statuses = [event.data["status"] for event in store.events(job.id, 0)]
    assert statuses == ["PENDING", "RUNNING", "FAILED", "PENDING", "RUNNING", "SUCCESS"]


def test_a_retried_job_has_all_its_retries(open_store: OpenStore) -> None:
    """Those that it had used up before say nothing of it now."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    store.add(Submission("sample", {}, retries=1))
    for status in (JobStatus.PENDING, JobStatus.FAILED) * 2:
        claim = store.claim(RUNNABLE)
        assert claim is not None
        store.abandon(claim, error("host"))
        job = seen(store, claim.job.id)
        assert job.status is status
        if job.is_dead:
            store.retry(job.id)


def test_only_a_dead_job_is_retried(open_store: OpenStore) -> None:
    """Others say what they are; one that is not there is none."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    waiting, _ = store.add(Submission("sample", {}))
    with pytest.raises(NotDeadError, match="the job is PENDING"):
        store.retry(waiting.id)
    store.cancel(waiting.id)
    with pytest.raises(NotDeadError, match="the job is CANCELLED"):
        store.retry(waiting.id)
    with pytest.raises(NotDeadError, match="by its caller's fault"):
        store.retry(ended(store, blame="caller").id)
    assert store.retry("nobody") is None


def test_a_full_queue_takes_no_retry(open_store: OpenStore) -> None:
    """The job stays dead."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20, max_pending=1)
    job = ended(store)
    store.add(Submission("sample", {}))
    with pytest.raises(QueueFullError):
        store.retry(job.id)
    assert seen(store, job.id) == job


def test_dead_jobs_outlast_all_others(open_store: OpenStore, tmp_path: Path) -> None:
    """No time and no size of results takes them; what takes their payloads is a bound of theirs."""
    store = open_store(keep_dead=2, keep_dead_bytes=1 << 20, keep_seconds=-1.0)
    other, *dead = [
        ended(store, status).id for status in (JobStatus.SUCCESS, *[JobStatus.FAILED] * 3)
    ]
    oldest, *kept = dead
    assert store.clean() == 2
    assert store.get(other) is store.get(oldest) is None
    assert ids(store, EVERYBODY) == kept[::-1]
    payloads = tmp_path / "state" / "payloads"
    assert {path.name for path in payloads.iterdir()} == set(kept)
    small = open_store(keep_dead=9, keep_dead_bytes=1, keep_seconds=3600.0)
    assert small.clean() == 0
    assert [seen(small, one).is_dead for one in kept] == [False, False]
    assert list(payloads.iterdir()) == []
    with pytest.raises(NotDeadError, match="payload of the job is kept no longer"):
        small.retry(kept[0])


def test_one_caller_does_not_push_out_the_dead_jobs_of_others(open_store: OpenStore) -> None:
    """Each loses its own oldest ones first."""
    store = open_store(keep_dead=3, keep_dead_bytes=1 << 20)
    quiet = ended(store, caller="quiet").id
    loud = [ended(store, caller="loud").id for _ in range(5)]
    store.clean()
    assert ids(store, JobFilter(None, is_dead=True)) == [loud[4], loud[3], quiet]


def test_none_is_dead_where_none_is_to_be(open_store: OpenStore, tmp_path: Path) -> None:
    """Payloads may be private: then they go with the end of the job, whatever that is."""
    store = open_store(keep_dead=0)
    assert not ended(store).is_dead
    assert list((tmp_path / "state" / "payloads").iterdir()) == []


def test_what_is_purged_leaves_nothing(open_store: OpenStore, tmp_path: Path) -> None:
    """Neither rows nor files; what has not ended stays."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    dead, done = ended(store).id, ended(store, JobStatus.SUCCESS).id
    waiting, _ = store.add(Submission("sample", {}))
    assert store.purge([dead, done, waiting.id, "nobody"]) == 2
    assert ids(store, EVERYBODY) == [waiting.id]
    state = tmp_path / "state"
    assert [path.name for path in (state / "payloads").iterdir()] == [waiting.id]
    assert list((state / "results").iterdir()) == []


def test_jobs_of_all_callers_are_found_by_what_they_are(open_store: OpenStore) -> None:
    """By caller, status, plugin and time, alone and together, a page at a time."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    mine = [ended(store).id for _ in range(3)]
    yours = ended(store, JobStatus.SUCCESS, caller="you").id
    other, _ = store.add(Submission("other", {}, caller="you"))
    assert ids(store, EVERYBODY) == [other.id, yours, *mine[::-1]]
    assert ids(store, JobFilter("you")) == [other.id, yours]
    assert ids(store, JobFilter("you", plugin="other")) == [other.id]
    assert ids(store, JobFilter(None, JobStatus.SUCCESS)) == [yours]
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert ids(store, JobFilter(None, ended_before=now + hour)) == [yours, *mine[::-1]]
    assert ids(store, JobFilter(None, ended_before=now - hour)) == []
    page = store.listed(EVERYBODY, limit=2, before=None)
    rest = store.listed(EVERYBODY, limit=9, before=page[-1].id)
    assert [job.id for job in (*page, *rest)] == ids(store, EVERYBODY)
