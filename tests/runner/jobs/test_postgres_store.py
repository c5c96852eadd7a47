"""Jobs in PostgreSQL: what several machines need beyond the contract of every store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from typing import Any

import psycopg
import pytest

from tests.postgres import Postgres
from tests.runner.jobs.conftest import FORK, OpenStore, Store, in_postgres
from tests.runner.jobs.test_store import RUNNABLE, added, claimed, lost, seen
from tests.runner.waiting import spin
from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus, Submission
from toolrunner.runner.jobs.postgres import running
from toolrunner.runner.jobs.postgres.schema import SchemaError, migrate
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.store import Claim, StoreError, UnreadableError
from toolrunner.runner.settings.database_url import DatabaseUrl

pytestmark = in_postgres
Row = tuple[Any, ...]


def rows(open_store: OpenStore, query: str) -> list[Row]:
    """Return what a query finds, or nothing after a change."""
    with psycopg.connect(open_store.url, autocommit=True) as connection:
        connection.execute("SET search_path = toolrunner")
        found = connection.execute(query.encode())
        return [] if found.description is None else found.fetchall()


def entries(open_store: OpenStore) -> list[Row]:
    """Return what is in the queue: the plugin, the place, whose."""
    query = "SELECT queue_name, priority, args->>'job' FROM procrastinate_jobs ORDER BY id"
    return rows(open_store, query)


# Tables


def test_many_may_migrate_at_once(open_store: OpenStore, postgres: Postgres) -> None:
    """One of them goes the steps; afterwards the database is used."""
    with postgres.database(is_migrated=False) as url:
        with ThreadPoolExecutor(4) as pool:
            gone = list(pool.map(migrate, [DatabaseUrl(url)] * 4))
        assert sorted(map(bool, gone)) == [False, False, False, True]
        empty = OpenStore(open_store._folder, url, open_store._stack)
        added(empty())


def test_another_schema_is_refused_by_name(open_store: OpenStore, postgres: Postgres) -> None:
    """Empty, older or newer: with what to do. Nothing is changed."""
    with postgres.database(is_migrated=False) as url:
        empty = OpenStore(open_store._folder, url, open_store._stack)
        with pytest.raises(SchemaError, match="is empty: run `toolrunner migrate`"):
            empty()
    rows(open_store, "DELETE FROM steps WHERE name = 'jobs 1'")
    with pytest.raises(SchemaError, match=r"older than this toolrunner \(no jobs 1\): run"):
        open_store()
    rows(open_store, "INSERT INTO steps VALUES ('jobs 1'), ('jobs 999')")
    for use in (open_store, lambda: migrate(DatabaseUrl(open_store.url))):
        with pytest.raises(SchemaError, match=r"is newer than this toolrunner \(it has jobs 999\)"):
            use()


# The queue


def test_a_job_waits_with_an_entry_in_the_queue(open_store: OpenStore) -> None:
    """In the queue of its plugin, from the moment that it is accepted to that of its claim."""
    store = open_store()
    first, second = added(store), added(store, plugin="other")
    assert entries(open_store) == [("sample", -1, first.id), ("other", -2, second.id)]
    claim = claimed(store)
    assert entries(open_store) == [("other", -2, second.id)]
    store.give_back(claim)
    store.cancel(second.id)
    assert entries(open_store) == [("sample", -1, first.id)]
    store.finish(claimed(store), JobStatus.SUCCESS, result={})
    assert entries(open_store) == []


def test_what_is_lost_or_retried_waits_in_the_queue_again(open_store: OpenStore) -> None:
    """However it came to be PENDING."""
    store = open_store(keep_dead=9, keep_dead_bytes=1 << 20)
    job = added(store, retries=1)
    open_store.die(claimed)
    assert entries(open_store) == []
    store.recover(lost)
    assert [entry[2] for entry in entries(open_store)] == [job.id]
    error = {"type": "ExecutionError", "message": "no", "details": {"blame": "plugin"}}
    store.finish(claimed(store), JobStatus.FAILED, error=error)
    store.retry(job.id)
    assert [entry[2] for entry in entries(open_store)] == [job.id]


def test_without_an_entry_there_is_no_job(open_store: OpenStore) -> None:
    """Accepting is one transaction."""
    store = open_store()
    rows(open_store, "ALTER TABLE procrastinate_jobs RENAME TO elsewhere")
    with pytest.raises(StoreError, match="run `toolrunner migrate`"):
        store.add(Submission("sample", {}))
    rows(open_store, "ALTER TABLE elsewhere RENAME TO procrastinate_jobs")
    assert sum(store.counts().values()) == 0
    assert rows(open_store, "SELECT * FROM events") == []
    added(store)


def test_who_has_left_one_job_waits_for_one_of_who_has_left_many(store: Store) -> None:
    """Also where one runs at a time, and so nobody has more running than another."""
    heavy = [added(store, caller="heavy").id for _ in range(9)]
    order = []
    for number in range(4):
        claim = claimed(store)
        if number == 1:
            light = added(store, caller="light").id
        order.append(claim.job.id)
        store.finish(claim, JobStatus.SUCCESS, result={})
    assert order == [*heavy[:3], light]


def test_what_nobody_can_run_holds_up_no_other_job_of_its_caller(open_store: OpenStore) -> None:
    """Jobs of a plugin or a version that is gone use up nothing of the caller's share."""
    store = open_store()
    assert store.claim(RUNNABLE) is None  # from here on it is known what can be run
    for _ in range(4):
        added(store, plugin="gone", caller="unlucky")
        added(store, version="0", caller="unlucky")
        added(store, caller="other")
    able = added(store, caller="unlucky")
    places = {job: -place for _, place, job in entries(open_store)}
    assert places[able.id] == 1
    again = added(store, plugin="gone", caller="unlucky")
    assert {job: -place for _, place, job in entries(open_store)}[again.id] == 5


def test_what_nobody_can_run_gives_newcomers_no_better_place(open_store: OpenStore) -> None:
    """It was left long ago; what is served now is far beyond it."""
    store = open_store()
    assert store.claim(RUNNABLE) is None
    added(store, plugin="gone")
    for _ in range(3):
        added(store, caller="heavy")
    for _ in range(2):
        store.finish(claimed(store), JobStatus.SUCCESS, result={})
    newcomer = added(store, caller="light")
    assert {job: -place for _, place, job in entries(open_store)}[newcomer.id] == 3


# Who lives


@contextmanager
def stopped_with_a_job(open_store: OpenStore) -> Iterator[Callable[[], Any]]:
    """Let another process take a job, and stop it; yield what lets it go on and try to end it."""
    mine, others = Pipe()

    def run() -> None:
        store = open_store.apart()[0]
        claim = claimed(store)
        others.send(claim.job.id)
        others.recv()
        withdrawn = store.withdrawn()
        has_ended = store.finish(claim, JobStatus.SUCCESS, result={"from": "the dead"})
        others.send((withdrawn, has_ended))
        os._exit(0)

    process = FORK.Process(target=run)
    process.start()
    assert process.pid is not None

    def go_on() -> Any:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)
        mine.send(None)
        return mine.recv()

    try:
        mine.recv()
        os.kill(process.pid, signal.SIGSTOP)
        yield go_on
    finally:
        process.kill()
        process.join()


def test_a_process_that_comes_back_can_change_nothing(open_store: OpenStore) -> None:
    """It holds its lock, but says nothing: its job is another's, and stays so."""
    store = open_store(late_seconds=1.0)
    job = added(store, retries=1)
    with stopped_with_a_job(open_store) as go_on:
        spin(lambda: store.recover(lost) == 1)
        claim = claimed(store)
        assert (claim.job.id, claim.number) == (job.id, 2)
        assert go_on() == ({job.id: CancelledBy.SERVER}, False)
    assert seen(store, job.id).status is JobStatus.RUNNING
    assert store.finish(claim, JobStatus.SUCCESS, result={"from": "the living"})
    assert store.result(job.id) == {"from": "the living"}


def test_who_was_taken_for_dead_begins_anew(open_store: OpenStore) -> None:
    """It takes jobs again, but none that it still runs; and it hears that nobody wants those."""
    store, other = open_store(), open_store(late_seconds=-3600.0)
    job = added(store, retries=1)
    claim = claimed(store)
    assert other.recover(lost) == 1
    assert store.withdrawn() == {job.id: CancelledBy.SERVER}
    assert store.claim(RUNNABLE) is None  # it learns of it
    assert store.claim(RUNNABLE) is None  # it still runs the only one
    second = added(store)
    assert claimed(store).job.id == second.id
    assert not store.finish(claim, JobStatus.SUCCESS, result={})
    assert store.withdrawn() == {}
    assert claimed(store).job.id == job.id


def test_a_broken_connection_is_made_again_before_anybody_notices(open_store: OpenStore) -> None:
    """What runs goes on under the same name, and its end counts."""
    store, other = open_store(), open_store()
    added(store)
    claim = claimed(store)
    [[name]] = rows(open_store, "SELECT worker FROM workers")
    rows(
        open_store,
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    locks = (
        "SELECT 1 FROM pg_locks JOIN workers ON objid = key WHERE locktype = 'advisory'"
        # The server is that of other tests too.
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    spin(lambda: rows(open_store, locks))  # by its next word that it lives
    assert rows(open_store, "SELECT worker FROM workers") == [(name,)]
    assert other.recover(lost) == 0
    assert store.finish(claim, JobStatus.SUCCESS, result={})


def test_nobody_is_dead_right_after_a_start_of_postgresql(open_store: OpenStore) -> None:
    """The living may not be back yet; who is dead is found so afterwards."""
    store = open_store(fresh_seconds=1e6)
    job = added(store)
    open_store.die(claimed)
    assert store.recover(lost) == 0
    assert open_store().recover(lost) == 1
    assert seen(store, job.id).status is JobStatus.FAILED


def test_a_fork_keeps_no_lock_of_its_parents(open_store: OpenStore) -> None:
    """It has a copy of every descriptor, and must not seem to be its parent."""
    store = open_store()
    added(store)
    source, sink = os.pipe()

    def claim_and_fork(dying: Store) -> None:
        claimed(dying)
        if os.fork() == 0:
            os.close(sink)
            os.read(source, 1)
            os._exit(0)

    open_store.die(claim_and_fork)
    assert store.recover(lost) == 1
    os.close(sink)
    os.close(source)


# What fails


def work(open_store: OpenStore) -> None:
    """Run in a process of its own: do jobs until it is killed, as a dispatcher does."""
    store = open_store.apart(late_seconds=60.0)[0]
    ends: list[tuple[Claim, dict[str, Any]]] = []
    while True:
        with suppress(StoreError, UnreadableError):  # by now another one may have run it
            store.recover(lost)
            if not ends and (claim := store.claim(RUNNABLE)) is not None:
                ends.append((claim, dict(store.payload(claim))))
            for claim, result in ends:
                store.finish(claim, JobStatus.SUCCESS, result=result)
            ends.clear()


def test_whatever_is_killed_each_job_ends_once(open_store: OpenStore, postgres: Postgres) -> None:
    """Processes, and PostgreSQL itself: none is lost, none ends twice, and nothing is left over."""
    store = open_store()
    jobs = {added(store, payload={"n": n}, retries=1000).id: n for n in range(60)}
    workers = [FORK.Process(target=work, args=(open_store,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for round_ in range(12):
            ended = _ended(store)
            spin(lambda ended=ended: _ended(store) > ended or _ended(store) == len(jobs))  # type: ignore[misc]
            if round_ % 4 == 3:
                postgres.stop(signal.SIGQUIT)
                postgres.start()
            worker = workers[round_ % len(workers)]
            worker.kill()
            worker.join()
            workers[round_ % len(workers)] = FORK.Process(target=work, args=(open_store,))
            workers[round_ % len(workers)].start()
            more = {} if round_ % 2 else {_added_somehow(store, n).id: n for n in range(60, 70)}
            jobs.update(more)
        spin(lambda: _ended(store) == len(jobs))
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    assert {job_id: store.result(job_id) for job_id in jobs} == {
        job_id: {"n": n} for job_id, n in jobs.items()
    }
    ends = "SELECT count(*) FROM events WHERE data LIKE '%SUCCESS%'"
    assert rows(open_store, ends) == [(len(jobs),)]
    assert entries(open_store) == []
    assert store.figures().ended[JobStatus.SUCCESS] == len(jobs)
    names = {path.name for path in (open_store._folder / "results").iterdir()}
    assert {name.partition(".")[0] for name in names} == set(jobs)


def _ended(store: Store) -> int:
    while True:
        with suppress(StoreError):
            counts = store.counts()
            return sum(n for status, n in counts.items() if status.has_ended)


def _added_somehow(store: Store, n: int) -> Job:
    """Store a job as a client does that tries again, with a key, until it is answered."""
    submission = Submission("sample", {"n": n}, retries=1000, idempotency_key=f"{time.time()}")
    while True:
        with suppress(StoreError):
            return store.add(submission)[0]


def test_an_end_whose_answer_was_lost_is_no_other_end(store: Store) -> None:
    """It is written once; told again, it keeps what it has brought."""
    job = added(store)
    claim = claimed(store)
    for _ in range(2):
        assert store.finish(claim, JobStatus.SUCCESS, result={"n": 1})
    assert store.result(job.id) == {"n": 1}


def test_while_postgresql_is_away_every_method_says_so(
    open_store: OpenStore, postgres: Postgres
) -> None:
    """In words that say what to do; it goes on by itself, and nothing has changed."""
    store = open_store()
    job = added(store)
    claim = claimed(store)
    new = Claim(claim.job, 9)
    methods: list[Callable[[], object]] = [
        lambda: store.add(Submission("sample", {})),
        lambda: store.get(job.id),
        lambda: store.listed(JobFilter(None), limit=1, before=None),
        lambda: store.rename_callers({"a": "b"}),
        lambda: store.claim(RUNNABLE),
        store.stranded,
        store.all_stranded,
        lambda: store.progress(claim, 0.5, "half"),
        lambda: store.finish(new, JobStatus.FAILED, error={}),
        lambda: store.give_back(new),
        lambda: store.abandon(new, {}),
        lambda: store.cancel(job.id),
        lambda: store.retry(job.id),
        lambda: store.purge([job.id]),
        store.withdrawn,
        lambda: store.result(job.id),
        lambda: store.artifacts(job.id),
        lambda: store.open_artifact(job.id, "x"),
        lambda: store.events(job.id, 0),
        store.counts,
        store.figures,
        lambda: store.recover(lost),
        store.clean,
        store.check,
    ]
    postgres.stop(signal.SIGQUIT)
    for method in methods:
        with pytest.raises(StoreError, match="see that PostgreSQL runs and can be reached"):
            method()
    open_store()  # as a server that starts meanwhile
    postgres.start()
    spin(lambda: _works(store))
    assert store.finish(claim, JobStatus.SUCCESS, result={"n": 1})
    assert [event.number for event in store.events(job.id, 0)] == [1, 2, 3]


def _works(store: Store) -> bool:
    try:
        store.check()
    except StoreError:
        return False
    return True


def test_a_replica_is_named_as_what_it_is(open_store: OpenStore) -> None:
    """It answers, but takes no changes, as while another server takes over."""
    store = open_store()
    job = added(store)
    rows(
        open_store,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
        " current_database()); END $$",
    )
    readers = open_store()
    assert seen(readers, job.id).status is JobStatus.PENDING
    for method in (readers.check, lambda: readers.add(Submission("sample", {}))):
        with pytest.raises(StoreError, match="is read-only"):
            method()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_no_password_is_said(open_store: OpenStore, host: str) -> None:
    """Neither of what cannot be reached, nor in a traceback."""
    url = DatabaseUrl.parse(f"postgresql://me:secret@{host}/jobs")
    with pytest.raises(StoreError, match=r"postgresql://me:\*\*\*@") as caught:
        migrate(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert open_store.url


def test_a_parameter_that_the_library_does_not_know_is_named(open_store: OpenStore) -> None:
    """And nothing else of what it says, which may be a part of a password."""
    url = DatabaseUrl.parse("postgresql://me@127.0.0.1:1/jobs?foo=1&password=secret")
    with pytest.raises(StoreError, match=r"\(it knows no parameter 'foo'\)") as caught:
        migrate(url)
    assert "secret" not in str(caught.value)
    assert open_store.url


def test_text_that_postgresql_cannot_hold_is_found_nowhere(store: Store) -> None:
    """As of an id that a client has made up."""
    for name in ("a\0b", "\ud800"):
        assert store.get(name) is None
        assert store.cancel(name) is None
        assert store.listed(JobFilter(name), limit=1, before=name) == []


def test_files_of_another_database_stay(open_store: OpenStore) -> None:
    """Who names the wrong database deletes nothing of the right one's."""
    store = open_store()
    assert isinstance(store, PostgresJobStore)
    folder = open_store._folder / "payloads"
    older, ours = folder / "older", folder / "ours"
    for path, age in ((older, 9_000_000), (ours, 8_000_000)):
        path.write_bytes(b"x")
        os.utime(path, (age, age))
    rows(open_store, "UPDATE notes SET value = 8500000 WHERE name = 'made'")
    ours.touch()
    os.utime(ours, (8_600_000, 8_600_000))
    os.utime(older, (8_400_000, 8_400_000))
    store.clean()
    assert [path.name for path in folder.iterdir()] == ["older"]


def test_two_databases_do_not_share_a_place(open_store: OpenStore, postgres: Postgres) -> None:
    """Each would sweep the other's blobs away; two processes of one database do share it."""
    added(open_store())
    kept = sorted((open_store._folder / "payloads").iterdir())
    with postgres.database(is_migrated=False) as url:
        migrate(DatabaseUrl(url))
        others = OpenStore(open_store._folder, url, open_store._stack)()
        for step in (others.check, lambda: added(others), others.clean):
            with pytest.raises(StoreError, match="is another job store's: name another place"):
                step()
        others.close()
    assert sorted((open_store._folder / "payloads").iterdir()) == kept
    open_store().check()


def test_who_does_not_set_jobs_imports_nothing_of_it(open_store: OpenStore) -> None:
    """Neither a server nor a command."""
    program = (
        "import sys, toolrunner.api.cli.app, toolrunner.api.http.app, toolrunner.api.serve.worker;"
        "print(sorted({'psycopg', 'procrastinate', 'psycopg_pool'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert open_store.url


@pytest.mark.parametrize("few", [0, 10**6], ids=["many", "few"])
def test_whose_turn_it_is_does_not_depend_on_how_many_wait(
    few: int, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between callers, between a caller's plugins, and among versions; in order, each once."""
    monkeypatch.setattr(running, "_FEW", few)
    store = open_store()
    kinds = {
        "S": ("heavy", "sample", None),
        "O": ("heavy", "other", "1.0.0"),
        "o": ("heavy", "other", "9.9.9"),
        "N": ("heavy", "none", ""),
        "n": ("heavy", "none", "1.0.0"),
        "L": ("light", "sample", "1.0.0"),
    }
    names = {}
    for number in range(4):
        for kind in "SSOoNnL":
            caller, plugin, version = kinds[kind]
            names[added(store, caller=caller, plugin=plugin, version=version).id] = kind, number
    able = {"sample": "1.0.0", "other": "1.0.0", "none": ""}
    taken = []
    while (claim := store.claim(able)) is not None:
        taken.append(names[claim.job.id])
    assert "".join(kind for kind, _ in taken) == "SLOLNLOLNONONSSSSSSS"
    for kind in "SONL":
        numbers = [number for one, number in taken if one == kind]
        assert numbers == sorted(numbers)


def test_a_line_is_gone_through_when_others_take_its_first(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a single caller's jobs, each is taken by one of those who ask at the same time."""
    monkeypatch.setattr(running, "_FEW", 0)
    monkeypatch.setattr(running, "_DEPTHS", (1, 2, 2**31 - 1))
    store = open_store()
    jobs = {added(store).id for _ in range(40)}

    def take() -> list[str]:
        found = []
        while (claim := store.claim(RUNNABLE)) is not None:
            found.append(claim.job.id)
        return found

    with ThreadPoolExecutor(4) as threads:
        taken = [job for some in threads.map(lambda _: take(), range(4)) for job in some]
    assert sorted(taken) == sorted(jobs)


def test_those_whose_first_are_taken_just_now_are_passed_over(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all that are looked at first are."""
    monkeypatch.setattr(running, "_FEW", 0)
    monkeypatch.setattr(running, "_DEPTHS", (1, 2**31 - 1))
    store = open_store()
    first, second = added(store), added(store)
    with psycopg.connect(open_store.url) as other:
        other.execute("SELECT FROM toolrunner.jobs WHERE id = %s FOR UPDATE", (first.id,))
        assert claimed(store).job.id == second.id
        assert store.claim(RUNNABLE) is None
    assert claimed(store).job.id == first.id
