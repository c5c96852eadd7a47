"""Webhooks of a cluster: whichever server is told first posts, and any other where it dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.runner.waiting import spin
from tests.runner.webhooks.conftest import Sending, in_postgres
from tests.runner.webhooks.receiving import receiving
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.postgres.webhooks import PostgresOutbox
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.webhooks import outbox

pytestmark = in_postgres
FORK = multiprocessing.get_context("fork")
URL = "https://receiver.example/"


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without having been told."""
    monkeypatch.setattr(PostgresOutbox, "tick_seconds", 3600.0)


@contextmanager
def serving(make_sending: Callable[[], Sending], url: str) -> Iterator[int]:
    """Let another process post, from the moment that it does; yield its number."""
    mine, others = multiprocessing.Pipe()

    def serve() -> None:
        sending = make_sending()
        sending.post_to(url)
        others.send(True)
        others.recv()
        os._exit(0)

    process = FORK.Process(target=serve)
    process.start()
    try:
        assert mine.recv()
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()


@pytest.mark.usefixtures("only_told")
def test_one_of_two_servers_posts_each_message(make_sending: Callable[[], Sending]) -> None:
    """It is told, by whichever has ended the job, and does not ask; both have the same secret."""
    with receiving() as receiver, serving(make_sending, receiver.url):
        sending = make_sending()
        sending.post_to(receiver.url)
        jobs = [sending.ended().id for _ in range(20)]
        spin(lambda: not sending.waiting())
        [secret] = sending.secrets.of(receiver.url)
        posted = Counter(post.verified(secret)["data"]["id"] for post in receiver.posts)
    assert posted == dict.fromkeys(jobs, 1)


def test_what_a_killed_server_was_posting_is_posted_by_another(
    make_sending: Callable[[], Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the same message, in its next attempt, once its time is over."""
    monkeypatch.setattr(outbox, "HELD_SECONDS", 0.5)
    with receiving() as receiver:
        ask = receiver.answer
        with serving(make_sending, receiver.url) as pid:
            receiver.answer = lambda *_: os.kill(pid, signal.SIGKILL)
            sending = make_sending()
            sending.ended()
            receiver.wait(1)
            spin(lambda: not _lives(pid))
        receiver.answer = ask
        assert sending.waiting() == 1
        sending.post_to(receiver.url)
        first, *more = receiver.wait(2)
        assert {post.id for post in more} == {first.id}
        spin(lambda: not sending.waiting())


def _lives(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("only_told")
def test_an_address_that_another_server_names_is_posted_to(
    make_sending: Callable[[], Sending],
) -> None:
    """Also by one that was told of none, as soon as it is named; and no more once it is dropped."""
    with receiving() as receiver:
        sending, other = make_sending(), make_sending()
        sending.post_to(URL)
        other.outbox.set_addresses([receiver.url])
        sending.ended()
        receiver.wait(1)
        spin(lambda: not sending.waiting())
        other.outbox.drop(receiver.url)
        sending.ended()
        assert (other.outbox.statuses(), len(receiver.posts)) == ([], 1)


def test_the_end_of_a_job_waits_for_no_change_of_the_addresses(
    sending: Sending, database: str
) -> None:
    """Nor fails by one; what it wrote for an address that is no more is swept."""
    sending.outbox.set_addresses([URL])
    with psycopg.connect(database) as busy:
        busy.execute("DELETE FROM toolrunner.webhooks")
        job = sending.ended()  # which sees the address still
    found = sending.store.get(job.id)
    assert found is not None
    assert found.status is JobStatus.SUCCESS
    count = "SELECT count(*) FROM toolrunner.messages"
    with psycopg.connect(database, autocommit=True) as looking:
        assert looking.execute(count).fetchone() == (1,)
        sending.outbox.clean(3600)
        assert looking.execute(count).fetchone() == (0,)


def test_nothing_of_a_job_is_in_a_notice(sending: Sending, database: str) -> None:
    """But what a channel is called: whoever may listen there learns no result and no payload."""
    with psycopg.connect(database, autocommit=True) as listening:
        for channel in ("toolrunner_messages", "procrastinate_any_queue_v1"):
            listening.execute(f"LISTEN {channel}")
        sending.outbox.set_addresses([URL])
        sending.ended()
        notices = list(listening.notifies(timeout=0))
    assert {(one.channel, one.payload) for one in notices if "toolrunner" in one.channel} == {
        ("toolrunner_messages", "")
    }
    waiting = [json.loads(one.payload) for one in notices if "procrastinate" in one.channel]
    assert [one.keys() for one in waiting] == [{"type", "job_id"}]


def test_a_secret_that_is_none_is_told(sending: Sending, database: str) -> None:
    """With what to do: a new one that no receiver knows would be worse."""
    sending.secrets.of(URL)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE toolrunner.webhook_secrets SET secrets = '{none}'")
    with pytest.raises(StoreError, match=r"not what toolrunner has written: .*webhooks secret URL"):
        sending.secrets.of(URL)
