"""What jobs may take together: whose are refused, and whose go, so that nobody pays for others."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import OpenStore, Store
from tests.runner.jobs.test_begun_jobs import Answers
from tests.runner.waiting import spin
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs import row_store, rules
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import (
    Job,
    JobFilter,
    JobStatus,
    QueueFullError,
    Submission,
    TooLargeError,
)

RUNNABLE = {"sample": "1"}
EVERYBODY = JobFilter(None)
KIB = 1024


def added(store: Store, payload: dict[str, Any] | None = None, caller: str = "") -> Job:
    """Return a job that waits."""
    return store.add(Submission("sample", payload or {}, caller=caller))[0]


def ended(store: Store, caller: str, size: int, *, fails: bool = False) -> str:
    """Return a job that has ended, with a result or a payload of about so many bytes."""
    filling = {"x": "y" * size}
    job = added(store, filling if fails else {}, caller)
    claim = store.claim(RUNNABLE)
    assert claim is not None
    if fails:
        error = {"type": "ExecutionError", "message": "no", "details": {"blame": "plugin"}}
        store.finish(claim, JobStatus.FAILED, error=error)
    else:
        store.finish(claim, JobStatus.SUCCESS, result=filling)
    return job.id


def files_below(folder: Path) -> list[Path]:
    """Return all files of a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_who_keeps_most_loses_its_oldest(open_store: OpenStore, tmp_path: Path) -> None:
    """What others have stays, however old it is; what has gone leaves no file."""
    store = open_store(keep_bytes=5 * KIB + 500)
    quiet = [ended(store, "quiet", KIB) for _ in range(2)]
    loud = [ended(store, "loud", KIB) for _ in range(6)]
    assert store.clean() == 3
    kept = [job.id for job in store.listed(JobFilter(None), limit=9, before=None)]
    assert kept == [*loud[:2:-1], *quiet[::-1]]
    results = {path.name.partition(".")[0] for path in files_below(tmp_path / "state" / "results")}
    assert results == set(kept)
    assert store.clean() == 0


def test_it_is_their_size_that_counts(open_store: OpenStore) -> None:
    """One caller's few large results go before another's many small ones."""
    store = open_store(keep_bytes=8 * KIB)
    small = [ended(store, "small", 100) for _ in range(9)]
    large = [ended(store, "large", 3 * KIB) for _ in range(3)]
    assert store.clean() == 1
    assert store.get(large[0]) is None
    assert all(map(store.get, [*small, *large[1:]]))


def test_what_is_too_old_takes_no_room(open_store: OpenStore) -> None:
    """It goes for its age, and nothing else has to."""
    old = ended(open_store(), "old", 3 * KIB)
    store = open_store(keep_seconds=-1.0, keep_bytes=1)
    assert store.clean() == 1
    assert store.get(old) is None


def test_dead_jobs_go_by_the_same_rule(open_store: OpenStore) -> None:
    """One large payload of a caller who has failed often pushes out none of another's."""
    store = open_store(keep_dead=9, keep_dead_bytes=4 * KIB)
    quiet = [ended(store, "quiet", 500, fails=True) for _ in range(3)]
    loud = [ended(store, "loud", 2 * KIB, fails=True) for _ in range(2)]
    store.clean()
    dead = store.listed(JobFilter(None, is_dead=True), limit=9, before=None)
    assert [job.id for job in dead] == [loud[1], *quiet[::-1]]


def test_payloads_that_wait_are_bounded_by_their_bytes(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Beyond that the queue is full: it names the setting, and nothing of the payload stays."""
    store = open_store(max_pending_bytes=10 * KIB)
    files = {"files": [{"name": "a", "data": io.BytesIO(bytes(6 * KIB))}]}
    added(store, files)
    before = files_below(tmp_path)
    for payload in (
        {"image": bytes(5 * KIB), "mime_type": "image/png"},
        {"text": "x" * 5 * KIB},
        {"files": [{"name": "a", "data": io.BytesIO(bytes(5 * KIB))}]},
    ):
        with pytest.raises(QueueFullError, match="max_jobs_mb") as caught:
            added(store, payload)
        assert caught.value.error_type is ErrorType.OVERLOADED
        assert caught.value.details["retry_after_seconds"] == 5
    assert files_below(tmp_path) == before
    assert store.counts()[JobStatus.PENDING] == 1
    added(store, {"text": "x" * 2 * KIB})


def test_those_who_come_at_once_find_no_more_room_than_there_is(open_store: OpenStore) -> None:
    """However little that is, and through however many processes."""
    stores = [open_store(max_pending=4) for _ in range(3)]
    begin = threading.Barrier(18)

    def add(number: int) -> str:
        begin.wait()
        try:
            return added(stores[number % 3], caller=str(number)).id
        except QueueFullError:
            return ""

    with ThreadPoolExecutor(18) as threads:
        for _ in range(5):
            taken = list(filter(None, threads.map(add, range(18))))
            assert len(taken) == stores[0].counts()[JobStatus.PENDING] == 4
            for job_id in taken:
                stores[0].cancel(job_id)


def test_a_payload_that_never_has_room_is_told_so(open_store: OpenStore, tmp_path: Path) -> None:
    """Coming again later is of no use; nothing of it stays."""
    store = open_store(max_pending_bytes=10 * KIB)
    before = files_below(tmp_path)
    with pytest.raises(TooLargeError, match="max_jobs_mb") as caught:
        added(store, {"text": "x" * 11 * KIB})
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
    assert files_below(tmp_path) == before


def test_what_no_longer_waits_takes_no_room(open_store: OpenStore) -> None:
    """One that runs makes room, and takes it again where it is given back."""
    store = open_store(max_pending_bytes=10 * KIB)
    large = {"text": "x" * 8 * KIB}
    added(store, large)
    claim = store.claim(RUNNABLE)
    assert claim is not None
    store.cancel(added(store, large).id)
    second = added(store, large)
    store.give_back(claim)
    store.cancel(second.id)
    with pytest.raises(QueueFullError):
        added(store, large)


def test_a_repeated_submission_needs_no_room(open_store: OpenStore) -> None:
    """Its job is there already."""
    store = open_store(max_pending_bytes=10 * KIB)
    submission = Submission("sample", {"text": "x" * 8 * KIB}, idempotency_key="k")
    job, _ = store.add(submission)
    assert store.add(submission) == (job, False)


def test_a_dead_job_is_retried_where_its_payload_has_room(open_store: OpenStore) -> None:
    """It counts again from then on; until then it stays dead."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20, max_pending_bytes=10 * KIB)
    dead = ended(store, "", 6 * KIB, fails=True)
    waiting = added(store, {"text": "x" * 6 * KIB})
    with pytest.raises(QueueFullError, match="max_jobs_mb"):
        store.retry(dead)
    store.cancel(waiting.id)
    assert store.retry(dead)
    with pytest.raises(QueueFullError, match="max_jobs_mb"):
        added(store, {"text": "x" * 6 * KIB})


def test_one_caller_leaves_room_for_the_next(open_store: OpenStore) -> None:
    """It may have as many as are free; and a single one without a key all there are."""
    store = open_store(max_pending=12)
    jobs = [added(store, caller="greedy") for _ in range(6)]
    with pytest.raises(QueueFullError, match="of this caller") as caught:
        added(store, caller="greedy")
    assert caught.value.details["retry_after_seconds"] == 5
    for _ in range(3):
        added(store, caller="modest")
    with pytest.raises(QueueFullError, match="of this caller"):
        added(store, caller="modest")
    added(store, caller="late")
    for job in jobs[:4]:
        store.cancel(job.id)
    added(store, caller="modest")


def test_without_keys_all_of_it_is_everybodys(open_store: OpenStore) -> None:
    """There is nobody to leave room for."""
    store = open_store(max_pending=3)
    for _ in range(3):
        added(store)
    with pytest.raises(QueueFullError, match="3 jobs are waiting already"):
        added(store)


def test_one_callers_payloads_leave_room_for_the_next(open_store: OpenStore) -> None:
    """By their bytes, and however large a first one is."""
    store = open_store(max_pending_bytes=12 * KIB)
    for _ in range(2):
        added(store, {"text": "x" * 2 * KIB}, "greedy")
    with pytest.raises(QueueFullError, match="max_jobs_mb"):
        added(store, {"text": "x" * 3 * KIB}, "greedy")
    added(store, {"text": "x" * 7 * KIB}, "modest")


@pytest.mark.parametrize("why", ["old", "large", "dead"])
def test_what_is_kept_no_longer_goes_a_part_at_a_time(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """No transaction changes more rows than that: others want to write between them."""
    for module in (rules, row_store):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 3)
    bounds: dict[str, dict[str, Any]] = {
        "old": {"keep_seconds": -1.0},
        "large": {"keep_bytes": 0},
        "dead": {"keep_dead": 100, "keep_dead_bytes": 1 << 30},
    }
    store = open_store(**bounds[why])
    for _ in range(8):
        ended(store, "", 1, fails=why == "dead")
    if why == "dead":
        store.close()
        store = open_store(keep_dead=0)
    changed, writing = [], store._database.writing

    @contextmanager
    def counted() -> Iterator[Any]:
        query = "SELECT count(*) AS jobs, count(dead_bytes) AS dead FROM jobs"
        with writing() as database:
            before: Any = database.execute(query).fetchone()
            yield database
            now: Any = database.execute(query).fetchone()
            changed.append(before["jobs"] - now["jobs"] + before["dead"] - now["dead"])

    monkeypatch.setattr(store._database, "writing", counted)
    if why == "old":  # as a server does
        dispatcher = JobDispatcher(store, Answers(None), threads=1)
        dispatcher.start()
        spin(lambda: sum(changed) == 8)
        dispatcher.drain(0)
    while store.clean():
        pass
    assert sum(changed) == 8
    assert [one for one in changed if one] == [3, 3, 2]
    assert len(store.listed(EVERYBODY, limit=9, before=None)) == (8 if why == "dead" else 0)
