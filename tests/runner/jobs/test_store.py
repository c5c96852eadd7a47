"""The store: what it keeps, who may take what, and that nothing is lost or done twice."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import OpenStore, Store
from toolrunner.runner.errors import CancelledBy, ErrorType
from toolrunner.runner.jobs.endings import unheard
from toolrunner.runner.jobs.job import (
    IdempotencyConflictError,
    Job,
    JobFilter,
    JobStatus,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.rules import MOST_UNBEGUN
from toolrunner.runner.jobs.store import Claim, UnreadableError

# What every process here can run.
RUNNABLE = {"sample": "1", "slow": "1", "quick": "1"}


def lost(job: Job) -> dict[str, Any]:
    """Return the error of a job whose process has died."""
    return {"type": "InternalError", "message": f"lost in attempt {job.attempts}"}


def added(store: Store, plugin: str = "sample", **keys: Any) -> Job:
    """Store a job, and return it."""
    job, is_new = store.add(Submission(plugin, keys.pop("payload", {"n": 1}), **keys))
    assert is_new
    return job


def claimed(store: Store) -> Claim:
    """Take a job that has to be there."""
    claim = store.claim(RUNNABLE)
    assert claim is not None
    assert store.begin(claim)
    return claim


def seen(store: Store, job_id: str) -> Job:
    """Return a job that has to be there."""
    job = store.get(job_id)
    assert job is not None
    return job


def statuses(store: Store, job_id: str) -> list[str]:
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
def test_a_payload_comes_back_as_it_was(store: Store, payload: dict[str, Any]) -> None:
    """Whoever claims a job gets what was submitted, images as bytes."""
    added(store, payload=payload)
    assert store.payload(claimed(store)) == payload


def test_a_job_goes_its_way(store: Store) -> None:
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


def test_a_failed_job_keeps_its_error_and_has_no_result(store: Store) -> None:
    """What went wrong is there to be read."""
    job = added(store)
    store.finish(claimed(store), JobStatus.FAILED, error={"type": "PluginCrashed"})
    assert seen(store, job.id).error == {"type": "PluginCrashed"}
    assert store.result(job.id) is None


def test_nothing_to_claim_is_no_error(store: Store) -> None:
    """An empty queue gives nothing, and neither does an unknown id."""
    assert store.claim(RUNNABLE) is None
    assert store.get("nobody") is None
    assert store.cancel("nobody") is None
    assert store.events("nobody", 0) == []


def test_a_job_is_claimed_once(open_store: OpenStore) -> None:
    """Many threads over several connections take every job, and none twice."""
    stores = [open_store() for _ in range(3)]
    ids = {added(stores[0]).id for _ in range(60)}

    def take(store: Store) -> list[str]:
        taken = []
        while (claim := store.claim(RUNNABLE)) is not None:
            taken.append(claim.job.id)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for found in pool.map(take, stores * 2) for job_id in found]
    assert Counter(taken) == Counter(ids)


def test_callers_and_plugins_have_their_turn_alike(store: Store) -> None:
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


def test_the_oldest_is_first(store: Store) -> None:
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


def test_one_key_is_one_job(store: Store) -> None:
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
def test_one_key_for_two_requests_is_a_conflict(store: Store, other: Submission) -> None:
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


def test_a_pending_job_is_cancelled_at_once(store: Store) -> None:
    """It never runs, and its payload is gone."""
    job = added(store)
    cancelled = store.cancel(job.id)
    assert cancelled is not None
    assert cancelled.status is JobStatus.CANCELLED
    assert store.claim(RUNNABLE) is None
    assert statuses(store, job.id) == ["PENDING", "CANCELLED"]


def test_a_running_job_is_withdrawn_from_who_runs_it(open_store: OpenStore) -> None:
    """Its process hears of it, others do not, and an ended job stays as it ended."""
    mine, other = open_store(), open_store()
    job = added(mine)
    claim = claimed(mine)
    assert other.cancel(job.id) is not None
    assert mine.withdrawn() == {job.id: CancelledBy.CALLER}
    assert other.withdrawn() == {}
    assert mine.finish(claim, JobStatus.CANCELLED)
    assert mine.withdrawn() == {}
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
    assert (second.job.attempts, second.number) == (1, 2)
    assert not mine.finish(claim, JobStatus.SUCCESS, result={"attempt": 1})
    assert other.finish(second, JobStatus.SUCCESS, result={"attempt": 2})
    assert mine.result(job.id) == {"attempt": 2}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_lost_attempt_is_made_again_as_retries_allow(store: Store, retries: int) -> None:
    """Else it ends with the error that was given; and what waited only costs no retry."""
    job = added(store, retries=retries)
    store.give_back(claimed(store))
    assert (seen(store, job.id).status, seen(store, job.id).attempts) == (JobStatus.PENDING, 0)
    for attempt in range(1, retries + 1):
        store.abandon(claimed(store), {"type": "SandboxError"})
        again = seen(store, job.id)
        assert (again.status, again.attempts, again.error) == (JobStatus.PENDING, attempt, None)
    claim = claimed(store)
    store.abandon(claim, {"type": "SandboxError"})
    failed = seen(store, job.id)
    assert (failed.status, failed.attempts) == (JobStatus.FAILED, retries + 1)
    assert failed.error == {"type": "SandboxError"}
    store.abandon(claim, {"type": "another"})
    assert seen(store, job.id) == failed
    with pytest.raises(UnreadableError):
        store.payload(claim)


def test_a_withdrawn_job_that_is_given_back_is_cancelled(store: Store) -> None:
    """Nobody runs again what nobody wants."""
    job = added(store)
    claim = claimed(store)
    store.cancel(job.id)
    store.give_back(claim)
    assert seen(store, job.id).status is JobStatus.CANCELLED


def test_figures_are_of_all_that_have_ended(open_store: OpenStore) -> None:
    """However they did, whoever ended them, and also of those that are kept no longer."""
    store, other = open_store(), open_store(keep_seconds=0)
    assert set(store.figures().ended.values()) == {0}
    assert store.figures().oldest_pending_seconds == 0
    for _ in range(4):
        added(store)
    assert store.figures().oldest_pending_seconds > 0
    store.finish(claimed(store), JobStatus.SUCCESS, result={})
    other.finish(claimed(other), JobStatus.FAILED, error={"type": "ExecutionError"})
    store.give_back(claimed(store))
    for _ in range(2):
        claim = claimed(store)
        store.cancel(claim.job.id)
        store.cancel(claim.job.id)
        store.give_back(claim)
    other.clean()
    assert sum(store.counts().values()) == 0
    for one in (store, other):
        assert one.figures().ended == {
            JobStatus.SUCCESS: 1,
            JobStatus.FAILED: 1,
            JobStatus.CANCELLED: 2,
        }
        assert one.figures().oldest_pending_seconds == 0


def test_what_nobody_can_run_has_a_figure_of_its_own(store: Store) -> None:
    """More of those who run others would not run it; while nobody runs any, whoever starts may."""
    added(store, plugin="gone")
    added(store, version="0")
    assert store.figures().oldest_pending_seconds > 0
    assert store.figures().oldest_stranded_seconds == 0
    assert store.claim(RUNNABLE) is None
    assert store.figures().oldest_pending_seconds == 0
    assert store.figures().oldest_stranded_seconds > 0
    added(store)
    figures = store.figures()
    assert 0 < figures.oldest_pending_seconds < figures.oldest_stranded_seconds


def die_with(open_store: OpenStore, jobs: int) -> None:
    """Let a process die that has taken so many jobs."""
    open_store.die(lambda store: [claimed(store) for _ in range(jobs)])


def test_what_had_not_begun_when_its_process_died_has_lost_no_attempt(
    open_store: OpenStore,
) -> None:
    """However few retries it has; but not for ever, as it may be what its processes die of."""
    store = open_store()
    job = added(store)
    open_store.die(lambda other: other.claim(RUNNABLE))
    assert store.recover(lost) == 1
    for _ in range(MOST_UNBEGUN):
        found = seen(store, job.id)
        assert (found.status, found.attempts) == (JobStatus.PENDING, 0)
        assert store.claim(RUNNABLE) is not None
        assert store.take_back_unknown([], lost) == 1
    assert seen(store, job.id).status is JobStatus.FAILED


def test_a_lost_claim_begins_nothing(open_store: OpenStore) -> None:
    """So what was taken for dead, and lives, runs nothing that another process has by now."""
    store = open_store()
    job = added(store)
    claim = store.claim(RUNNABLE)
    assert claim is not None
    store.give_back(claim)
    assert not store.begin(claim)
    again = claimed(store)
    assert again.job.id == job.id
    assert not store.begin(claim)
    assert store.finish(again, JobStatus.SUCCESS, result={})
    assert not store.begin(again)


def test_a_process_takes_back_what_it_does_not_know(open_store: OpenStore) -> None:
    """As if it had died with it: what has begun by its retries, and what it knows stays."""
    store = open_store()
    jobs = [added(store, retries=retries) for retries in (0, 0, 1, 0)]
    known, lost_, again = (claimed(store) for _ in range(3))
    assert store.claim(RUNNABLE) is not None
    assert store.take_back_unknown([known], unheard) == 3
    assert store.take_back_unknown([known], unheard) == 0
    found = [seen(store, job.id) for job in jobs]
    assert [one.status for one in found] == ["RUNNING", "FAILED", "PENDING", "PENDING"]
    assert [one.attempts for one in found] == [1, 1, 1, 0]
    assert found[1].error is not None
    assert "the job store was away" in found[1].error["message"]
    assert [store.finish(one, JobStatus.SUCCESS, result={}) for one in (known, lost_, again)] == [
        True,
        False,
        False,
    ]


def test_jobs_of_a_killed_process_end_or_run_again_by_their_retries(
    open_store: OpenStore,
) -> None:
    """With a retry left it is pending again; without, failed, with the reason."""
    store = open_store()
    once, again, waiting = added(store), added(store, retries=1), added(store)
    die_with(open_store, 2)
    assert store.recover(lost) == 2
    assert store.recover(lost) == 0
    failed = seen(store, once.id)
    assert (failed.status, failed.attempts) == (JobStatus.FAILED, 1)
    assert failed.error == {"type": "InternalError", "message": "lost in attempt 1"}
    assert failed.ended_at is not None
    assert seen(store, again.id).status is JobStatus.PENDING
    assert seen(store, waiting.id).status is JobStatus.PENDING
    die_with(open_store, 1)
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


def test_a_withdrawn_job_of_a_killed_process_is_cancelled(open_store: OpenStore) -> None:
    """Its caller wanted nothing more of it."""
    store = open_store()
    job = added(store, retries=5)
    dying, end = open_store.apart()
    claimed(dying)
    store.cancel(job.id)
    dying.close()
    end()
    assert store.recover(lost) == 1
    assert seen(store, job.id).status is JobStatus.CANCELLED


def test_what_is_stored_is_there_after_a_kill(open_store: OpenStore) -> None:
    """A process killed right after it stored a job has stored it."""
    open_store.die(lambda store: added(store, payload={"image": b"kept"}))
    store = open_store()
    assert store.payload(claimed(store)) == {"image": b"kept"}


def test_a_payload_that_is_lost_holds_up_nobody(store: Store, tmp_path: Path) -> None:
    """A file that somebody has deleted is that job's fault alone, and says no path."""
    job, other = added(store), added(store)
    (tmp_path / "state" / "payloads" / job.id).unlink()
    with pytest.raises(UnreadableError, match="FileNotFoundError") as caught:
        store.payload(claimed(store))
    assert str(tmp_path) not in str(caught.value)
    assert store.payload(claimed(store)) == {"n": 1}
    assert seen(store, other.id).status is JobStatus.RUNNING


def ended(store: Store, size: int) -> Job:
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
    store: Store, tmp_path: Path
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


def test_a_list_is_of_one_caller_newest_first(store: Store) -> None:
    """It can be gone through page by page, and by status."""
    mine = [added(store, caller="me").id for _ in range(5)]
    added(store, caller="you")
    first = store.listed(JobFilter("me"), limit=2, before=None)
    assert [job.id for job in first] == [mine[4], mine[3]]
    rest = store.listed(JobFilter("me"), limit=9, before=first[-1].id)
    assert [job.id for job in rest] == [mine[2], mine[1], mine[0]]
    store.cancel(mine[0])
    cancelled = store.listed(JobFilter("me", JobStatus.CANCELLED), limit=9, before=None)
    assert [job.id for job in cancelled] == [mine[0]]


def test_what_it_keeps_is_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    """Payloads are other people's."""
    added(store)
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_store_that_works_passes_its_check(store: Store) -> None:
    """It can be written."""
    store.check()


def test_callers_get_their_new_names(store: Store) -> None:
    """Jobs go with them; of two with one Idempotency-Key the newer name's is there."""
    first = added(store, caller="0a1b2c3d")
    old = added(store, caller="0a1b2c3d", idempotency_key="same")
    new = added(store, caller="shop", idempotency_key="same")
    other = added(store, caller="other")
    store.rename_callers({"0a1b2c3d": "shop"})
    known = {one.id for one in store.listed(JobFilter("shop"), limit=9, before=None)}
    assert known == {first.id, new.id}
    assert seen(store, old.id).caller == "0a1b2c3d"
    assert seen(store, other.id).caller == "other"


@pytest.mark.parametrize("first", [CancelledBy.OPERATOR, CancelledBy.CALLER])
def test_who_cancelled_first_is_kept(open_store: OpenStore, first: CancelledBy) -> None:
    """Of what runs and of what waits; of a job that is run again, who cancels it then."""
    mine, other = open_store(), open_store()
    second = next(one for one in (CancelledBy.OPERATOR, CancelledBy.CALLER) if one is not first)
    running = added(mine)
    claim = claimed(mine)
    waiting = added(mine)
    for job in (running, waiting):
        for by in (first, second):
            cancelled = other.cancel(job.id, by)
            assert cancelled is not None
            assert cancelled.cancelled_by is first
    assert mine.withdrawn() == {running.id: first}
    assert mine.finish(claim, JobStatus.CANCELLED)
    for job in (running, waiting):
        assert seen(mine, job.id).status is JobStatus.CANCELLED
        assert seen(mine, job.id).cancelled_by is first
