"""Jobs that really run: their results, cancels, retries, and what an end of the server leaves."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.runner.jobs.conftest import OpenStore, StartServer, in_sqlite
from tests.runner.waiting import PATIENCE_SECONDS, spin
from toolrunner.runner.jobs.job import JobStatus, Submission

FORK = multiprocessing.get_context("fork")


def test_a_job_runs_and_its_result_is_kept(start_server: StartServer) -> None:
    """From PENDING to SUCCESS, with what the plugin returned."""
    server = start_server()
    job = server.ended(server.create(n=7))
    assert (job.status, job.attempts, job.error) == (JobStatus.SUCCESS, 1, None)
    assert server.jobs.job_result(job.id) == {"n": 7}
    assert server.jobs.job_counts()[JobStatus.SUCCESS] == 1


def test_a_failed_job_says_why_and_nothing_internal(start_server: StartServer) -> None:
    """The public half of the envelope."""
    server = start_server()
    job = server.ended(server.create(fail=True))
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"] == "ExecutionError"
    assert job.error["details"]["call_id"] == job.id
    assert "_internal" not in job.error
    assert "log_tail" not in job.error["details"]
    assert server.jobs.job_result(job.id) is None


def test_a_job_waits_for_the_breaker(start_server: StartServer) -> None:
    """That others have failed is not what this one ends with."""
    server = start_server(threads=1, breaker_failures=2, breaker_seconds=1)
    failed = [server.create(fail=True) for _ in range(2)]
    spin(lambda: all(server.job(one).status is JobStatus.FAILED for one in failed))
    job = server.ended(server.create(n=7))
    assert (job.status, job.error) == (JobStatus.SUCCESS, None)


def test_progress_becomes_events(start_server: StartServer) -> None:
    """In the order of what happened, each with a number of its own."""
    server = start_server()
    job = server.ended(server.create(progress=0.5))
    events = server.jobs.job_events(job.id)
    assert [(event.number, event.kind) for event in events] == [
        (1, "status"),
        (2, "status"),
        (3, "progress"),
        (4, "status"),
    ]
    assert events[2].data == {"fraction": 0.5, "message": "so far"}
    assert server.jobs.job_events(job.id, after=3) == events[3:]
    assert job.progress == 1.0


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_progress_is_told_before_the_end(
    start_server: StartServer, *, fails: bool
) -> None:
    """Though it comes too soon after others, which are left out."""
    server = start_server()
    job = server.ended(server.create(progress=0.5, steps=1000, fail=fails))
    *_, last, end = server.jobs.job_events(job.id)
    assert last.data == {"fraction": 0.5, "message": "so far"}
    assert end.data == {"status": job.status}
    assert job.progress == (0.5 if fails else 1.0)


def test_progress_that_is_held_back_is_told_while_its_job_works_on(
    start_server: StartServer,
) -> None:
    """So who follows a job sees what it is at now, and not what came a moment before."""
    server = start_server()
    job_id = server.create(progress=0.5, steps=3, wait=True)
    spin(lambda: server.job(job_id).progress == 0.5)
    assert server.job(job_id).status is JobStatus.RUNNING


def test_who_watches_a_call_waits_for_no_store(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limits hold while progress cannot be told, as where PostgreSQL is frozen."""
    server = start_server()
    asked, goes_on = threading.Event(), threading.Event()

    def silent(*_: object) -> None:
        asked.set()
        goes_on.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(server.store, "progress", silent)
    server.create(wait=True, progress=0.1)
    try:
        assert asked.wait(PATIENCE_SECONDS)
        [running] = server.dispatcher._all_running()
        running.call.cancel()
        spin(lambda: server.tool_runner.registry.get_status("sample").in_flight == 0)
        assert not goes_on.is_set()
    finally:
        goes_on.set()


def test_no_more_run_at_once_than_may(start_server: StartServer) -> None:
    """The others stay pending until there is room."""
    server = start_server(threads=2)
    ids = [server.create(wait=True, progress=0.1) for _ in range(3)]
    spin(lambda: all(server.job(one).progress == 0.1 for one in ids[:2]))
    assert server.job(ids[2]).status is JobStatus.PENDING
    server.jobs.cancel_job(ids[0])
    spin(lambda: server.job(ids[2]).status is JobStatus.RUNNING)


def test_a_running_job_that_is_cancelled_is_killed(start_server: StartServer) -> None:
    """Though it would never have ended; and its caller sees that it was cancelled."""
    server = start_server()
    job_id = server.create(wait=True, progress=0.1)
    spin(lambda: server.job(job_id).progress == 0.1)
    asked = server.jobs.cancel_job(job_id)
    assert asked is not None
    job = server.ended(job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.error is not None
    assert job.error["type"] == "Cancelled"


def test_a_job_of_another_caller_cannot_be_seen_or_cancelled(start_server: StartServer) -> None:
    """As if it did not exist."""
    server = start_server()
    job, _ = server.analysis.submit(Submission("sample", {"wait": True}, caller="one"))
    assert server.jobs.get_job(job.id, "other") is None
    assert server.jobs.cancel_job(job.id, "other") is None
    assert server.jobs.list_jobs("other") == []
    assert [one.id for one in server.jobs.list_jobs("one")] == [job.id]
    assert server.jobs.cancel_job(job.id, "one") is not None


def test_a_job_that_finds_no_place_waits_for_one(start_server: StartServer) -> None:
    """Calls that somebody waits for come first, and no job fails because of them."""
    server = start_server(max_concurrent=1, max_waiting=0, threads=2)
    first = server.create(wait=True, progress=0.1)
    spin(lambda: server.job(first).progress == 0.1)
    second = server.create(n=2)
    spin(lambda: server.job(second).attempts > 0)
    spin(lambda: server.job(second).status is JobStatus.PENDING)
    server.jobs.cancel_job(first)
    assert server.ended(second).status is JobStatus.SUCCESS


def test_a_drain_waits_for_what_runs(start_server: StartServer) -> None:
    """And takes nothing more."""
    server = start_server(threads=1)
    slow = server.create(n=1)
    spin(lambda: server.job(slow).status is not JobStatus.PENDING)
    server.dispatcher.drain(PATIENCE_SECONDS)
    assert server.job(slow).status is JobStatus.SUCCESS
    later = server.create(n=2)
    assert server.job(later).status is JobStatus.PENDING
    # Whoever serves next runs it.
    assert start_server().ended(later).status is JobStatus.SUCCESS


def test_a_drain_still_hears_of_cancels(start_server: StartServer) -> None:
    """A job that nobody wants holds up no end."""
    server = start_server()
    job_id = server.create(wait=True, progress=0.1)
    spin(lambda: server.job(job_id).progress == 0.1)
    drain = threading.Thread(target=server.dispatcher.drain, args=(PATIENCE_SECONDS,))
    drain.start()
    server.jobs.cancel_job(job_id)
    drain.join(PATIENCE_SECONDS)
    assert server.job(job_id).status is JobStatus.CANCELLED


@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_server_loses_no_job(
    retries: int, start_server: StartServer, open_store: OpenStore
) -> None:
    """What waited is run by the next; what ran is run again, or ends with the reason."""
    store = open_store()
    payload = {"wait": True, "progress": 0.1}
    running, _ = store.add(Submission("sample", payload, retries=retries))
    waiting, _ = store.add(Submission("sample", {"n": 5}))

    def serve_and_die() -> None:
        server = start_server(threads=1)
        spin(lambda: server.job(running.id).progress == 0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=serve_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    server = start_server()
    assert server.ended(waiting.id).status is JobStatus.SUCCESS
    if retries:
        spin(lambda: server.job(running.id).attempts == 2)
        server.jobs.cancel_job(running.id)
        assert server.ended(running.id).status is JobStatus.CANCELLED
    else:
        job = server.ended(running.id)
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert job.error["type"] == "SandboxError"
        assert "the process that ran the job ended" in job.error["message"]


def test_a_killed_server_costs_no_attempt_of_what_only_waited(
    start_server: StartServer, open_store: OpenStore
) -> None:
    """It was claimed, and its call was in the queue for a place behind another one."""
    store = open_store()
    running, _ = store.add(Submission("sample", {"wait": True, "progress": 0.1}))
    waiting, _ = store.add(Submission("sample", {"n": 5}))

    def serve_and_die() -> None:
        server = start_server(threads=2, max_concurrent=1)
        spin(lambda: server.job(running.id).progress == 0.1)
        spin(lambda: server.tool_runner.waiting == 1)
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=serve_and_die)
    process.start()
    process.join()
    server = start_server()
    job = server.ended(waiting.id)
    assert (job.status, job.attempts) == (JobStatus.SUCCESS, 1)
    assert server.ended(running.id).status is JobStatus.FAILED


def test_a_result_that_cannot_be_kept_ends_its_job(
    start_server: StartServer, tmp_path: Path
) -> None:
    """As FAILED, with the host's error, and it has run once."""
    server = start_server()
    results = tmp_path / "state" / "results"
    results.rmdir()
    results.touch()
    job = server.ended(server.create(n=1))
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.error is not None
    assert (job.error["type"], job.error["details"]["blame"]) == ("SandboxError", "host")
    assert f"could not be kept in {tmp_path / 'state'}: Not a directory" in job.error["message"]
    results.unlink()
    results.mkdir()
    assert server.ended(server.create(n=1)).status is JobStatus.SUCCESS


@in_sqlite
def test_a_job_that_cannot_be_ended_runs_no_second_time(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has its end, and what it brought, as soon as the store can be written."""
    server = start_server()
    intruder = sqlite3.connect(tmp_path / "state" / "jobs.sqlite3", isolation_level=None)
    with caplog.at_level(logging.ERROR, "toolrunner.jobs"):
        intruder.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON jobs WHEN NEW.ended IS NOT NULL"
            " BEGIN SELECT raise(ABORT, 'no room'); END"
        )
        job_id = server.create(n=1)
        spin(lambda: "could not be ended" in caplog.text)
        intruder.execute("DROP TRIGGER full")
    intruder.close()
    job = server.ended(job_id)
    assert (job.status, job.attempts) == (JobStatus.SUCCESS, 1)
    assert server.jobs.job_result(job_id) == {"n": 1}


@in_sqlite
def test_a_store_that_fails_for_a_while_ends_no_service(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs go on when it works again, and the log says what was wrong."""
    server = start_server()
    intruder = sqlite3.connect(tmp_path / "state" / "jobs.sqlite3", isolation_level=None)
    with caplog.at_level(logging.ERROR, "toolrunner.jobs"):
        intruder.execute("ALTER TABLE jobs RENAME TO elsewhere")
        server.dispatcher.wake()
        spin(lambda: "the job store failed" in caplog.text)
        intruder.execute("ALTER TABLE elsewhere RENAME TO jobs")
    intruder.close()
    assert server.ended(server.create(n=1)).status is JobStatus.SUCCESS
