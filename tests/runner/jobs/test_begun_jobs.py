"""What has begun is run again only as its retries allow, whatever has ended it or kept its end."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import Server, StartServer, Store, in_sqlite
from tests.runner.waiting import spin
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.runner.jobs import dispatcher as dispatcher_module
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.sqlite_file import FILE
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import Claim, StoreError
from toolrunner.sandbox import shortage
from toolrunner.sandbox.ending import Isolation


def begun(server: Server, retries: int) -> str:
    """Leave a job that never ends by itself, and return its id once it runs."""
    submission = Submission("sample", {"wait": True, "progress": 0.1}, retries=retries)
    job, _ = server.analysis.submit(submission)
    spin(lambda: server.job(job.id).progress == 0.1)
    return job.id


@pytest.mark.parametrize("retries", [0, 1])
def test_a_drain_that_is_over_costs_a_retry(start_server: StartServer, retries: int) -> None:
    """As a death does: without one left the job has failed, by the host's fault, and says why."""
    server = start_server()
    job_id = begun(server, retries)
    server.dispatcher.drain(0)
    job = server.job(job_id)
    if retries:
        assert (job.status, job.attempts, job.error) == (JobStatus.PENDING, 1, None)
        other = start_server()
        spin(lambda: other.job(job_id).attempts == 2)
        spin(lambda: other.job(job_id).progress == 0.1)
        other.dispatcher.drain(0)
        job = other.job(job_id)
    assert (job.status, job.attempts) == (JobStatus.FAILED, retries + 1)
    assert job.error is not None
    assert job.error["type"] == "SandboxError"
    assert (job.error["details"]["blame"], job.error["details"]["retryable"]) == ("host", True)
    assert "the server was stopped while the job ran" in job.error["message"]


def test_a_drain_gives_back_what_has_not_begun(start_server: StartServer) -> None:
    """What only waited for its place has lost nothing, and costs no retry."""
    server = start_server(max_concurrent=1, threads=2)
    first = begun(server, 0)
    second = server.create(n=2)
    spin(lambda: server.job(second).status is JobStatus.RUNNING)
    spin(lambda: server.tool_runner.waiting == 1)
    server.dispatcher.drain(0)
    assert server.job(first).status is JobStatus.FAILED
    assert (server.job(second).status, server.job(second).attempts) == (JobStatus.PENDING, 0)
    assert start_server().ended(second).status is JobStatus.SUCCESS


class Answers:
    """Stands for the services: each call has begun, and ends as it is told."""

    def __init__(self, kind: ErrorType | None) -> None:
        self.kind = kind
        self.calls = 0

    def analyze(
        self, plugin_name: str, _payload: Mapping[str, Any], *, call: Call | None = None
    ) -> Any:
        """Answer."""
        self.calls += 1
        assert call is not None
        call.isolation = Isolation("warm", ("seccomp",))
        if self.kind is None:
            raise LookupError("ours")
        return None, build_error_envelope(
            self.kind, "m", plugin=plugin_name, call_id=call.call_id, isolation=call.isolation
        )

    def runnable(self) -> dict[str, str]:
        """Return what can be run."""
        return {"sample": ""}

    def unfit(self, plugin_name: str) -> str:
        """Return nothing: all of them may run."""
        del plugin_name
        return ""

    def suspended(self, plugin_name: str, version: str | None) -> str:
        """Return nothing: all of them take calls."""
        del plugin_name, version
        return ""


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("kind", [ErrorType.OVERLOADED, ErrorType.SANDBOX_ERROR, None])
def test_what_the_host_has_ended_is_run_again_as_retries_allow(
    store: Store, kind: ErrorType | None, retries: int
) -> None:
    """Its out-of-memory killer, or a bug of ours: so often and no more; then that is its error."""
    answers = Answers(kind)
    dispatcher = JobDispatcher(store, answers, threads=1)
    job, _ = store.add(Submission("sample", {}, retries=retries))
    dispatcher.start()
    spin(lambda: _ended(store, job.id))
    dispatcher.drain(0)
    found = store.get(job.id)
    assert found is not None
    assert (found.status, found.attempts) == (JobStatus.FAILED, retries + 1)
    assert answers.calls == retries + 1
    assert found.error is not None
    assert found.error["type"] == (kind or ErrorType.INTERNAL_ERROR)


def _ended(store: Store, job_id: str) -> bool:
    job = store.get(job_id)
    assert job is not None
    return job.status.has_ended


def test_a_result_that_no_file_can_hold_is_a_bug_once(
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plugin is not run again for it; the job says that it was a bug."""
    server = start_server()
    files = server.store._files
    monkeypatch.setattr(files, "write_result", lambda *_given: int("nothing"))
    job = server.ended(server.create(n=1))
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.error is not None
    assert job.error["type"] == "InternalError"


@in_sqlite
def test_a_store_that_fails_is_tried_seldom_and_told_once(
    start_server: StartServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line when no job can be taken, and one when jobs are taken again."""
    server = start_server()
    tries: list[None] = []
    claim = server.store.claim

    def counted(runnable: Mapping[str, str]) -> Claim | None:
        tries.append(None)
        return claim(runnable)

    monkeypatch.setattr(server.store, "claim", counted)
    with closing(sqlite3.connect(tmp_path / "state" / "jobs.sqlite3")) as intruder:
        intruder.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON jobs WHEN NEW.status = 'RUNNING'"
            " BEGIN SELECT raise(ABORT, 'no'); END"
        )
        job_id = server.create(n=1)
        spin(lambda: "no jobs are taken" in caplog.text)
        tries.clear()
        spin(lambda: len(tries) == 3)
        intruder.execute("DROP TRIGGER broken")
    assert server.ended(job_id).status is JobStatus.SUCCESS
    spin(lambda: "jobs are taken again" in caplog.text)
    ours = [r for r in caplog.records if r.name == "toolrunner.jobs" and r.levelno >= 30]
    assert len([r for r in ours if "no jobs are taken" in r.getMessage()]) == 1
    assert len(ours) <= 4, [r.getMessage() for r in ours]


@in_sqlite
def test_what_cannot_be_ended_takes_a_place(
    start_server: StartServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Results that no store takes do not pile up; each is written once it can be, none twice."""
    server = start_server(threads=2)
    with closing(sqlite3.connect(tmp_path / "state" / "jobs.sqlite3")) as intruder:
        intruder.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON jobs WHEN NEW.ended IS NOT NULL"
            " BEGIN SELECT raise(ABORT, 'no'); END"
        )
        ids = [server.create(n=n) for n in range(5)]
        spin(lambda: caplog.text.count("could not be ended") == 2)
        counts = server.jobs.job_counts()
        assert (counts[JobStatus.RUNNING], counts[JobStatus.PENDING]) == (2, 3)
        intruder.execute("DROP TRIGGER broken")
    jobs = [server.ended(one) for one in ids]
    assert [(job.status, job.attempts) for job in jobs] == [(JobStatus.SUCCESS, 1)] * 5
    assert [server.jobs.job_result(one) for one in ids] == [{"n": n} for n in range(5)]


def test_a_payload_that_cannot_be_read_now_waits(
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A host that has run out of descriptors, say, ends no job, and is not asked all the time."""
    server = start_server()
    read = server.store._files.read_payload
    tries: list[str] = []

    def scarce(job_id: str) -> dict[str, Any]:
        tries.append(job_id)
        if len(tries) < 4:
            raise OSError(24, "Too many open files")
        return read(job_id)

    monkeypatch.setattr(server.store._files, "read_payload", scarce)
    job = server.ended(server.create(n=1))
    assert (job.status, job.attempts) == (JobStatus.SUCCESS, 1)
    assert len(tries) == 4
    assert caplog.text.count("payloads cannot be read") == 1


class Held(Answers):
    """Answers a call only when it is cancelled, or all are let go."""

    def __init__(self) -> None:
        super().__init__(None)
        self.calls_now: list[Call] = []
        self.are_let_go = threading.Event()

    def analyze(
        self, _plugin_name: str, _payload: Mapping[str, Any], *, call: Call | None = None
    ) -> Any:
        """Begin, and wait."""
        assert call is not None
        assert call.on_begin is not None
        call.on_begin()
        call.isolation = Isolation("warm", ("seccomp",))
        self.calls_now.append(call)
        spin(lambda: call.cancelled or self.are_let_go.is_set())
        return {}, None


@in_sqlite
def test_an_attempt_that_was_lost_ends_no_other_one_here(store: Store) -> None:
    """Its job runs again in the same process meanwhile, and is still heard of and cancelled."""
    assert isinstance(store, SqliteJobStore)
    held = Held()
    dispatcher = JobDispatcher(store, held, threads=2)
    job, _ = store.add(Submission("sample", {}, retries=1))
    dispatcher.start()
    spin(lambda: len(held.calls_now) == 1)
    with store._writing() as database:  # as others do that take it for dead
        database.execute("UPDATE jobs SET status = 'PENDING', worker = NULL, deaths = deaths + 1")
    spin(lambda: len(held.calls_now) == 2)
    held.calls_now[0].cancel()
    spin(lambda: len(dispatcher._running) == 1)
    store.cancel(job.id)
    spin(lambda: held.calls_now[1].cancelled)
    spin(lambda: _ended(store, job.id))
    dispatcher.drain(0)


def test_a_claim_whose_answer_was_lost_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has it as RUNNING by this very process, which knows nothing of it, and lives."""
    claim = store.claim
    lost: list[Claim] = []

    def loses_one(runnable: Mapping[str, str]) -> Claim | None:
        found = claim(runnable)
        if found is not None and not lost:
            lost.append(found)
            raise StoreError(errno.EIO, "the answer was lost")
        return found

    monkeypatch.setattr(store, "claim", loses_one)
    monkeypatch.setattr(dispatcher_module, "RECOVER_SECONDS", 0.1)
    job, _ = store.add(Submission("sample", {}))
    held = Held()
    held.are_let_go.set()
    dispatcher = JobDispatcher(store, held, threads=1)
    dispatcher.start()
    spin(lambda: _ended(store, job.id))
    dispatcher.drain(0)
    found = store.get(job.id)
    assert lost
    assert found is not None
    assert (found.status, found.attempts) == (JobStatus.SUCCESS, 1)


@in_sqlite
def test_a_claim_that_nothing_runs_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has kept it from being run: here there was no memory, for once."""
    failed: list[Any] = []

    def fails_once(*given: Any) -> Any:
        if not failed:
            failed.append(given)
            raise MemoryError
        return shortage.submit(*given)

    monkeypatch.setattr(dispatcher_module, "submit", fails_once)
    job, _ = store.add(Submission("sample", {}))
    held = Held()
    held.are_let_go.set()
    dispatcher = JobDispatcher(store, held, threads=1)
    dispatcher.start()
    spin(lambda: _ended(store, job.id))
    dispatcher.drain(0)
    found = store.get(job.id)
    assert found is not None
    assert (found.status, found.attempts) == (JobStatus.SUCCESS, 1)


@in_sqlite
@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_whose_file_was_away_while_it_ended_does_not_run_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    """It is put back as it was, so the job RUNNING: its attempt is lost, and its retries count."""
    monkeypatch.setattr(dispatcher_module, "RECOVER_SECONDS", 0.1)
    state, away = tmp_path / "state", tmp_path / "away"
    away.mkdir()
    assert isinstance(store, SqliteJobStore)
    held = Held()
    dispatcher = JobDispatcher(store, held, threads=1)
    job, _ = store.add(Submission("sample", {}, retries=retries))
    dispatcher.start()
    spin(lambda: len(held.calls_now) == 1)
    with store._reading():  # so that nothing is in the middle of a step
        store._database._file._let_go()
        (state / FILE).rename(away / FILE)
    held.are_let_go.set()
    spin(lambda: not dispatcher._running)
    with store._reading():
        store._database._file._let_go()
        (away / FILE).replace(state / FILE)
    spin(lambda: _ended(store, job.id))
    dispatcher.drain(0)
    found = store.get(job.id)
    assert found is not None
    assert found.attempts == retries + 1
    assert found.status is (JobStatus.SUCCESS if retries else JobStatus.FAILED)
