"""What machines that share their jobs tell each other, so that nobody asks again and again."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psycopg
import pytest

from tests.postgres import Postgres
from tests.runner.jobs.conftest import FORK, OpenStore, Server, StartServer, Store, in_postgres
from tests.runner.jobs.test_store import added, claimed, lost, seen
from tests.runner.waiting import PATIENCE_SECONDS, spin
from toolrunner.runner.jobs.job import JobStatus, QueueFullError, Submission
from toolrunner.runner.jobs.postgres import notices
from toolrunner.runner.jobs.postgres.connections import Connection, connect
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl

pytestmark = in_postgres
NEVER = {"beat_seconds": 3600.0}
_LISTENING = (
    "FROM pg_stat_activity WHERE datname = current_database()"
    " AND (query LIKE 'LISTEN %' OR query LIKE 'UNLISTEN %')"
)
_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without having been told."""
    monkeypatch.setattr(PostgresJobStore, "tick_seconds", 3600.0)


def last_words(open_store: OpenStore) -> list[str]:
    """Return what each listening connection was told last."""
    with psycopg.connect(open_store.url) as connection:
        return [query for (query,) in connection.execute(f"SELECT query {_LISTENING}")]


def break_listening(open_store: OpenStore) -> bool:
    """End the connections that listen; whether there were any."""
    with psycopg.connect(open_store.url) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid) {_LISTENING}").fetchall()
    return bool(ended)


class Follower:
    """Looks at a job's events when it is called, and never else."""

    def __init__(self, store: Store, job_id: str) -> None:
        self.numbers: list[int] = []
        self.calls = 0
        self._called = threading.Event()
        self._store, self._job_id = store, job_id

    def call(self) -> None:
        """Have it look."""
        self.calls += 1
        self._called.set()

    def until(self, holds: Callable[[], bool]) -> None:
        """Look until it holds, each time that it is called."""
        while True:
            spin(self._look)
            if holds():
                return
            assert self._called.wait(PATIENCE_SECONDS)
            self._called.clear()

    def _look(self) -> bool:
        try:
            events = self._store.events(self._job_id, self.numbers[-1] if self.numbers else 0)
        except StoreError:  # as a client, it comes back
            return False
        self.numbers += [event.number for event in events]
        return True


@contextmanager
def following(store: Store, job_id: str) -> Iterator[Follower]:
    """Follow a job."""
    follower = Follower(store, job_id)
    with store.following(job_id, follower.call) as most_seconds:
        assert most_seconds == float("inf")
        yield follower


@pytest.mark.usefixtures("only_told")
def test_a_job_that_another_process_left_is_heard_of(
    open_store: OpenStore, start_server: StartServer
) -> None:
    """And so is one that it has given back, or lost by its death; nobody looks for them."""
    server = start_server(bounds=NEVER)
    other = open_store()
    server.ended(other.add(Submission("sample", {"n": 1}))[0].id)
    with held_by_another(open_store, server) as (job_id, let_go):
        let_go()
        assert server.ended(job_id).status is JobStatus.SUCCESS


@contextmanager
def held_by_another(
    open_store: OpenStore, server: Server
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Let another process have a job; yield its id, and what has that process give it back."""
    server.dispatcher.drain(0)  # else it would have it
    mine, others = FORK.Pipe()

    def hold() -> None:
        store = open_store.apart()[0]
        claim = claimed(store)
        others.send(claim.job.id)
        others.recv()
        store.give_back(claim)
        os._exit(0)

    added(open_store())
    process = FORK.Process(target=hold)
    process.start()
    job_id = mine.recv()
    again = Server(server.store, server.tool_runner)
    try:
        yield job_id, lambda: mine.send(None)
    finally:
        process.join()
        again.dispatcher.drain(0)


@pytest.mark.usefixtures("only_told")
def test_a_cancel_reaches_the_process_that_runs_the_job(
    open_store: OpenStore, start_server: StartServer
) -> None:
    """At once, from any other; also while that process drains."""
    server, other = start_server(bounds=NEVER), open_store()
    jobs = [server.create(wait=True, progress=0.1) for _ in range(2)]
    spin(lambda: all(server.job(one).progress == 0.1 for one in jobs))
    other.cancel(jobs[0])
    assert server.ended(jobs[0]).status is JobStatus.CANCELLED
    drain = threading.Thread(target=server.dispatcher.drain, args=(PATIENCE_SECONDS,))
    drain.start()
    other.cancel(jobs[1])
    drain.join(PATIENCE_SECONDS)
    assert server.job(jobs[1]).status is JobStatus.CANCELLED


@pytest.mark.usefixtures("only_told")
def test_who_is_taken_for_dead_hears_of_it(
    open_store: OpenStore, start_server: StartServer
) -> None:
    """Its call is killed, since nobody wants what it brings; the job is whoever's comes next."""
    server = start_server(bounds=NEVER)
    other = open_store(late_seconds=-3600.0)
    job_id = server.create(wait=True, progress=0.1)
    spin(lambda: server.job(job_id).progress == 0.1)
    assert other.recover(lost) == 1
    spin(lambda: not server.dispatcher._running)
    assert seen(other, job_id).status is JobStatus.FAILED


def test_what_nobody_has_told_is_found_by_the_heartbeat(
    open_store: OpenStore, start_server: StartServer
) -> None:
    """A job that waits, and a cancel: here no notice is sent at all."""
    with psycopg.connect(open_store.url) as connection:
        connection.execute(
            "CREATE FUNCTION toolrunner.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'"
        )
    open_store.url += "&options=-csearch_path%3Dtoolrunner%2Cpg_catalog"
    server, other = start_server(bounds={"beat_seconds": 0.1}), open_store()
    job = other.add(Submission("sample", {"wait": True, "progress": 0.1}))[0]
    spin(lambda: server.job(job.id).progress == 0.1)
    other.cancel(job.id)
    assert server.ended(job.id).status is JobStatus.CANCELLED


def test_events_are_heard_of_one_by_one(open_store: OpenStore) -> None:
    """Of the job that is followed, and of no other; and no more when nobody follows it."""
    store, other = open_store(), open_store()
    job, quiet = added(store), added(store, plugin="quiet")
    with following(store, job.id) as follower, following(store, quiet.id) as deaf:
        follower.until(lambda: follower.numbers == [1])
        spin(lambda: follower.calls and deaf.calls)  # it listens
        before = deaf.calls
        claim = claimed(other)
        follower.until(lambda: follower.numbers == [1, 2])
        other.progress(claim, 0.5, "half")
        follower.until(lambda: follower.numbers == [1, 2, 3])
        other.finish(claim, JobStatus.SUCCESS, result={})
        follower.until(lambda: follower.numbers == [1, 2, 3, 4])
        assert deaf.calls == before
    spin(lambda: [words[:8] for words in last_words(open_store)] == ["UNLISTEN"])


def test_a_broken_listening_connection_loses_nothing(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it breaks: what was told meanwhile is looked up once it listens again.

    Also what was told when it was there again already, and did not listen yet.
    """
    store, other = open_store(), open_store()
    job = added(store)
    claim = claimed(other)
    number = 3

    def connect_late(url: DatabaseUrl) -> Connection:
        connection = connect(url)
        other.progress(claim, 0.9, "on")
        return connection

    monkeypatch.setattr(notices, "connect", connect_late)
    with following(store, job.id) as follower:
        for _ in range(4):
            spin(lambda: break_listening(open_store))
            for fraction in (0.1, 0.2, 0.3):
                other.progress(claim, fraction, "on")
                number += 1
            number += 1
            follower.until(partial(_has, follower, number))
    assert follower.numbers == list(range(1, number + 1))


def _has(follower: Follower, number: int) -> bool:
    return len(follower.numbers) == number


def test_who_follows_hears_that_postgresql_is_away(
    open_store: OpenStore, postgres: Postgres
) -> None:
    """So a stream can end, and its client come back; and that it is there again."""
    store = open_store()
    job = added(store)
    with following(store, job.id) as follower:
        spin(lambda: last_words(open_store))
        before = follower.calls
        postgres.stop(signal.SIGQUIT)
        spin(lambda: follower.calls > before)
        postgres.start()
        claim = claimed(open_store())
        follower.until(lambda: follower.numbers == [1, 2])
        assert claim.job.id == job.id


def test_a_fork_hears_nothing_of_its_parents(open_store: OpenStore) -> None:
    """It may listen anew, on a connection of its own; its parent's end is nothing to it."""
    store = open_store()
    job = added(store)
    mine, others = FORK.Pipe()

    def follow_too() -> None:
        with following(store, job.id) as follower:
            follower.until(lambda: follower.numbers == [1])
            others.send(threading.active_count())
            follower.until(lambda: follower.numbers == [1, 2])
        others.send(follower.numbers)
        os._exit(0)

    with following(store, job.id) as follower:
        spin(lambda: last_words(open_store))
        process = FORK.Process(target=follow_too)
        process.start()
        assert mine.recv() == 2  # it and who listens for it
        store.close()
        spin(lambda: len(last_words(open_store)) == 1)  # the child's
        claimed(open_store())
        assert mine.recv() == [1, 2]
        process.join()
        assert process.exitcode == 0
        assert follower.numbers == []


def test_a_fork_keeps_no_connection_of_its_parents(open_store: OpenStore) -> None:
    """It has a copy of it, which would keep a dead process listening."""
    job = added(open_store())
    source, sink = os.pipe()

    def listen_and_fork(dying: Store) -> None:
        with following(dying, job.id):
            spin(lambda: last_words(open_store))
            if os.fork() == 0:
                os.close(sink)
                os.read(source, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    open_store.die(listen_and_fork)
    assert last_words(open_store) == []
    os.close(sink)
    os.close(source)


def test_who_has_nothing_to_do_asks_nothing(
    open_store: OpenStore, start_server: StartServer, postgres: Postgres
) -> None:
    """But that it lives, and whether there is something to do, in one step; one job runs all along.

    Counted from heartbeat to heartbeat, in PostgreSQL's own log.
    """
    with psycopg.connect(open_store.url) as connection:
        connection.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET log_statement = ''all''',"
            " current_database()); END $$"
        )
    server = start_server(bounds={"beat_seconds": 0.1})
    job_id = server.create(wait=True, progress=0.1)
    spin(lambda: server.job(job_id).progress == 0.1)
    with following(server.store, job_id):
        spin(lambda: last_words(open_store))
        begin = len(postgres.log)
        spin(lambda: beats(postgres.log[begin:]) >= 5)  # what was begun is over
        begin = len(postgres.log)
        spin(lambda: beats(postgres.log[begin:]) >= 20)
        told = _STATEMENT.findall(postgres.log[begin:])
    others = [statement for statement in told if "WITH beat AS" not in statement and statement]
    assert len(others) < 12, others
    server.jobs.cancel_job(job_id)


def beats(log: str) -> int:
    """Return how often somebody has said that he lives."""
    return log.count("WITH beat AS")


# How many may wait


def test_of_those_that_come_at_once_no_more_are_stored_than_may_wait(
    open_store: OpenStore,
) -> None:
    """Each would see only what was there before."""
    stores = [open_store(max_pending=20) for _ in range(2)]
    together = threading.Barrier(12)
    stored: list[bool] = []

    def leave(number: int) -> None:
        together.wait()
        for _ in range(3):
            with suppress(QueueFullError):
                stored.append(bool(added(stores[number % 2])))

    threads = [threading.Thread(target=leave, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == stores[0].counts()[JobStatus.PENDING] == 20
