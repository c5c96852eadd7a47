"""What every store of messages does, wherever jobs are kept, and what signs them."""

from __future__ import annotations

import base64
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from standardwebhooks.webhooks import Webhook

from tests.runner.waiting import spin
from tests.runner.webhooks.conftest import ERROR, Sending, in_both
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.webhooks import outbox
from toolrunner.runner.webhooks.message import headers
from toolrunner.runner.webhooks.outbox import Delivery

pytestmark = in_both
FORK = multiprocessing.get_context("fork")
URL, OTHER = "https://receiver.example/", "https://other.example/"


def took(sending: Sending, url: str = URL) -> Delivery:
    """Return a message that has to be due."""
    delivery = sending.outbox.take(url)
    assert delivery is not None
    return delivery


def test_whatever_ends_a_job_is_posted(make_sending: Callable[[], Sending]) -> None:
    """Also a cancel, of one that waits or runs, and the death of its process; nothing else does."""
    sending = make_sending()
    sending.outbox.set_addresses([URL])
    waits, _ = sending.store.add(Submission("sample", {"n": 1}))
    sending.store.cancel(waits.id)
    assert sending.waiting() == 1
    runs = sending.claimed()
    sending.store.progress(runs, 0.5, "so far")
    sending.store.cancel(runs.job.id)
    assert sending.waiting() == 1
    sending.store.give_back(runs)
    assert sending.waiting() == 2
    assert not sending.store.finish(runs, JobStatus.SUCCESS, result={})
    assert sending.waiting() == 2

    def die(pipe: int) -> None:
        dying = make_sending()
        claim = dying.claimed()
        assert dying.store.begin(claim)
        os.write(pipe, claim.job.id.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    reading, writing = os.pipe()
    child = FORK.Process(target=die, args=(writing,))
    child.start()
    child.join()
    job_id = os.read(reading, 100).decode()
    for end in (reading, writing):
        os.close(end)
    spin(lambda: sending.store.recover(lambda _job: ERROR))
    told = [took(sending).message for _ in range(3)]
    assert [one.job for one in told] == [waits.id, runs.job.id, job_id]
    assert [one.status for one in told] == ["CANCELLED", "CANCELLED", "FAILED"]
    assert told[2].error == ERROR


def test_a_job_that_ends_twice_is_posted_twice(sending: Sending) -> None:
    """One that is retried: under another id, by which receivers know what they have had."""
    sending.outbox.set_addresses([URL])
    sending.store._bounds["keep_dead"] = 9
    sending.store._bounds["keep_dead_bytes"] = 1 << 20
    job = sending.ended(JobStatus.FAILED)
    assert sending.store.retry(job.id) is not None
    again = sending.store.claim({"sample": ""})
    assert again is not None
    sending.store.finish(again, JobStatus.SUCCESS, result={})
    first, second = took(sending).message, took(sending).message
    assert (first.job, second.job) == (job.id, job.id)
    assert first.id != second.id


def test_what_waits_for_an_address_goes_with_it(sending: Sending) -> None:
    """Where it is named no more, or dropped; later jobs are told to those that are left."""
    sending.outbox.set_addresses([URL, OTHER])
    sending.ended()
    assert sending.waiting() == 2
    sending.outbox.set_addresses([OTHER])
    assert (sending.outbox.addresses(), sending.waiting()) == ([OTHER], 1)
    sending.outbox.drop(OTHER)
    sending.ended()
    assert (sending.outbox.addresses(), sending.waiting()) == ([], 0)
    sending.outbox.set_addresses([URL])
    assert sending.outbox.take(URL) is None


def test_no_two_processes_have_the_same_message(make_sending: Callable[[], Sending]) -> None:
    """However many take at once; each gets the oldest that is left."""
    one, other = make_sending(), make_sending()
    one.outbox.set_addresses([URL])
    jobs = [one.ended().id for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda n: took((one, other)[n % 2]), range(12)))
    assert sorted(delivery.message.job for delivery in taken) == sorted(jobs)
    assert {delivery.attempts for delivery in taken} == {1}
    assert other.outbox.take(URL) is None
    one.outbox.taken(taken[0])
    assert other.waiting() == 11


def test_what_nobody_reports_on_is_due_again(
    make_sending: Callable[[], Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To whoever asks next; what the first one says afterwards changes nothing of it."""
    monkeypatch.setattr(outbox, "HELD_SECONDS", 0.0)
    one, other = make_sending(), make_sending()
    one.outbox.set_addresses([URL])
    one.ended()
    late = took(one)
    monkeypatch.setattr(outbox, "HELD_SECONDS", 3600.0)
    delivery = took(other)
    assert (delivery.message.id, delivery.attempts) == (late.message.id, 2)
    one.outbox.put_off(late, 0.0, "late")
    one.outbox.give_back(late)
    assert one.outbox.take(URL) is None
    other.outbox.put_off(delivery, 0.0, "it answered 500")
    again = took(one)
    assert (again.attempts, again.reason) == (3, "it answered 500")
    one.outbox.give_back(again)
    assert took(one).attempts == 3
    assert took_nothing(other)


def took_nothing(sending: Sending) -> bool:
    """Whether nothing is due."""
    return sending.outbox.take(URL) is None


def test_an_address_rests_for_all_processes(make_sending: Callable[[], Sending]) -> None:
    """Until its time is over, or the operator wants it tried."""
    one, other = make_sending(), make_sending()
    one.outbox.set_addresses([URL, OTHER])
    one.ended()
    one.outbox.rest(URL, 3600.0)
    assert took_nothing(other)
    took(other, OTHER)
    other.outbox.rest(URL, 0.0)
    took(one)
    one.outbox.rest(URL, 3600.0)
    assert other.outbox.retry(URL) == 1
    assert took(one).attempts == 2


def test_one_that_wants_no_more_gets_no_more(make_sending: Callable[[], Sending]) -> None:
    """What waits is given up, later jobs tell it nothing, and a start changes nothing of that."""
    one, other = make_sending(), make_sending()
    one.outbox.set_addresses([URL])
    job = one.ended()
    assert one.outbox.stop(URL, "410 Gone") == 1
    other.ended()
    other.outbox.set_addresses([URL])
    [standing] = other.outbox.statuses()
    assert (standing.has_gone, standing.waiting, standing.failed) == (True, 0, 1)
    assert standing.reason == "410 Gone"
    assert other.outbox.addresses() == []
    [failed] = other.outbox.failed(10)
    assert (failed.message.job, failed.url, failed.reason) == (job.id, URL, "410 Gone")
    assert failed.failed_at is not None
    assert other.outbox.retry(URL) == 1
    assert one.outbox.addresses() == [URL]
    assert took(one).attempts == 1


def test_what_is_kept_is_bounded(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of those that wait are given up, and the oldest of those that were go."""
    monkeypatch.setattr(outbox, "MOST_WAITING", 3)
    monkeypatch.setattr(outbox, "MOST_FAILED", 1)
    sending.outbox.set_addresses([URL])
    jobs = [sending.ended().id for _ in range(5)]
    assert sending.outbox.clean(3600) == 2
    [standing] = sending.outbox.statuses()
    assert (standing.waiting, standing.failed) == (3, 1)
    assert sending.outbox.failed(5)[0].message.job == jobs[1]
    assert sending.outbox.clean(-1) == 0
    assert sending.outbox.failed(5) == []


# Secrets


def test_each_address_has_a_secret_of_its_own(make_sending: Callable[[], Sending]) -> None:
    """Made once, whoever asks first, in whichever process."""
    processes = (make_sending(), make_sending())
    together = threading.Barrier(6)

    def ask(number: int) -> tuple[str, ...]:
        together.wait()
        return processes[number % 2].secrets.of(URL)

    with ThreadPoolExecutor(6) as pool:
        [(secret,)] = set(pool.map(ask, range(6)))
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert processes[0].secrets.of(OTHER) != (secret,)
    assert sorted(processes[1].secrets.known()) == sorted([URL, OTHER])
    assert processes[1].secrets.problem() == ""


def test_a_secret_is_replaced_without_a_gap(make_sending: Callable[[], Sending]) -> None:
    """In all processes at once; the last one signs beside it until it is said to be over."""
    one, other = make_sending().secrets, make_sending().secrets
    [old] = one.of(URL)
    new, *others = other.replace(URL)
    assert others == [old]
    signed = headers("msg_1", b"{}", one.of(URL))
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", signed) == {}
    assert other.forget_old(URL) == (new,)
    given = "whsec_" + base64.b64encode(b"x" * 24).decode()
    assert one.replace(URL, given) == (given, new)
    assert other.replace(URL, given) == (given, new)
    with pytest.raises(ValueError, match="a secret is whsec_ and 24 to 64 bytes in base64"):
        one.replace(URL, "whsec_")
    assert one.of(URL) == (given, new)


@pytest.mark.parametrize("values", ["error = '{'", "error = '[1]'", "ended = 1e300"])
def test_a_damaged_message_holds_up_no_other(
    make_sending: Callable[[], Sending], execute: Callable[[str], None], values: str
) -> None:
    """It is posted with what can be read of it, and says what cannot."""
    sending = make_sending()
    sending.outbox.set_addresses([URL])
    failed = sending.claimed()
    sending.store.finish(failed, JobStatus.FAILED, error=ERROR)
    execute(f"UPDATE messages SET {values}")
    sending.store.finish(sending.claimed(), JobStatus.SUCCESS, result={})
    first, second = took(sending), took(sending)
    assert [first.message.status, second.message.status] == ["FAILED", "SUCCESS"]
    error = first.message.error
    assert error is not None
    if "error" in values:
        assert error["details"]["blame"] == "host"
        assert f"/v1/jobs/{failed.job.id} has the job's" in error["message"]
    assert first.message.body(dict)
    sending.outbox.give_up(first, "gone")
    [kept] = sending.outbox.failed(9)
    assert kept.message.id == first.message.id
