"""Messages to webhooks: what they say, who can have sent them, and that they arrive."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.runner.waiting import PATIENCE_SECONDS, spin
from tests.runner.webhooks.conftest import ERROR, Sending, in_both
from tests.runner.webhooks.receiving import Receiver, receiving, status
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.webhooks import outbox
from toolrunner.runner.webhooks.sender import Sender

FORK = multiprocessing.get_context("fork")


@in_both
def test_each_ended_job_is_posted_to_each_address(sending: Sending) -> None:
    """Signed with that address's secret: id, plugin, status and error, and nothing it brought."""
    with receiving() as one, receiving() as other:
        sending.post_to(one.url, other.url)
        done = sending.ended()
        failed = sending.ended(JobStatus.FAILED)
        for receiver in (one, other):
            posts = receiver.wait(2)
            [secret] = sending.secrets.of(receiver.url)
            found = {post.verified(secret)["data"]["id"]: post for post in posts}
            assert set(found) == {done.id, failed.id}
            document = json.loads(found[failed.id].body)
            stamp = document.pop("timestamp")
            assert stamp.endswith("Z")
            assert document == {
                "type": "job.failed",
                "data": {"id": failed.id, "plugin": "sample", "status": "FAILED", "error": ERROR},
            }
            assert json.loads(found[done.id].body)["type"] == "job.success"
            assert b"secret" not in found[done.id].body
            assert posts[0].path == "/jobs?of=all"
            assert posts[0].headers["Content-Type"] == "application/json"
        [foreign] = sending.secrets.of(other.url)
        with pytest.raises(WebhookVerificationError):
            one.posts[0].verified(foreign)
        spin(lambda: not sending.waiting())
    assert len(one.posts) == len(other.posts) == 2


@in_both
def test_what_is_not_taken_is_posted_again(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """As the same message: a receiver that had it knows by its id. The log says it once."""
    codes = {1: 500, 2: 302, 3: 404, 4: 429}
    caplog.set_level(logging.WARNING, "toolrunner.webhooks")
    with receiving(lambda handler, n: status(codes.get(n, 200), Location="/")(handler, n)) as one:
        sending.post_to(one.url)
        sending.ended()
        posts = one.wait(5)
        [secret] = sending.secrets.of(one.url)
        assert len({post.id for post in posts}) == len({post.body for post in posts}) == 1
        assert all(post.verified(secret) for post in posts)
        spin(lambda: "takes messages again" in caplog.text)
    told = [record.getMessage() for record in caplog.records]
    place = one.url.partition("?")[0]
    assert told == [
        f"webhook {place} takes no messages, and is tried again: it answered 500",
        f"webhook {place} takes messages again",
    ]


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("a file that is of no use")])
def test_what_keeps_failing_is_told_once(
    error: Exception,
    sending: Sending,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug with its traceback; and once that it is over, when what waits is posted."""
    caplog.set_level(logging.WARNING, "toolrunner.webhooks")
    tries: list[None] = []

    def fails() -> list[str]:
        tries.append(None)
        raise error

    def tried(times: int) -> bool:
        return len(tries) >= times

    with receiving() as receiver:
        deliverer = sending.post_to(receiver.url)
        sending.ended()
        receiver.wait(1)
        spin(lambda: not sending.waiting())
        with monkeypatch.context() as broken:
            broken.setattr(sending.outbox, "addresses", fails)
            for number in range(1, 4):
                deliverer.post_to([receiver.url])  # which ends a pause
                spin(partial(tried, number))
            sending.ended()
        deliverer.post_to([receiver.url])
        receiver.wait(2)
        spin(lambda: "webhooks are posted again" in caplog.text)
    failing, over = caplog.records
    assert failing.getMessage() == f"webhooks wait for what fails now: {error}"
    assert (failing.exc_info is None) == isinstance(error, OSError)
    assert over.getMessage() == "webhooks are posted again"


def test_a_message_is_given_up_in_the_end(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last of its attempts; the operator sees it, and may have it posted once more."""
    with receiving(status(503)) as receiver:
        sending.post_to(receiver.url, delays=(0.0, 0.0))
        job = sending.ended()
        spin(lambda: sending.outbox.failed(10))
        [failed] = sending.outbox.failed(10)
        assert (failed.message.job, failed.attempts, failed.url) == (job.id, 3, receiver.url)
        assert failed.reason == "it answered 503"
        assert len(receiver.posts) == 3
        words = f"that job {job.id} has ended, in 3 attempts: it answered 503"
        spin(lambda: words in caplog.text)
        [standing] = sending.outbox.statuses()
        assert (standing.waiting, standing.failed) == (0, 1)
        receiver.answer = status(200)
        assert sending.outbox.retry(receiver.url) == 1
        assert receiver.wait(4)[3].id == receiver.posts[0].id
        spin(lambda: not sending.waiting())


@in_both
def test_one_that_has_gone_is_asked_no_more(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """410 says so. What waits for it ends, and later jobs make no messages, until it is retried."""
    with receiving(status(410)) as receiver:
        deliverer = sending.post_to(receiver.url)
        sending.ended()
        spin(lambda: sending.outbox.failed(10))
        spin(lambda: "410 Gone" in caplog.text)
        sending.ended()
        [standing] = sending.outbox.statuses()
        assert (standing.has_gone, standing.waiting, standing.failed) == (True, 0, 1)
        sending.outbox.set_addresses([receiver.url])  # as a restart does
        assert sending.outbox.addresses() == []
        receiver.answer = status(200)
        assert sending.outbox.retry(receiver.url) == 1
        deliverer.post_to([receiver.url])
        receiver.wait(2)
        spin(lambda: "takes messages again" in caplog.text)


def test_an_address_that_fails_holds_up_no_other(sending: Sending) -> None:
    """It rests, for as long as it asks for, and its messages wait."""
    asked: list[float] = []

    def resting(_failures: int, seconds: float) -> float:
        asked.append(seconds)
        return 3600.0

    with receiving(status(503, Retry_After="120")) as busy, receiving() as fine:
        sending.post_to(busy.url, fine.url, resting=resting)
        for _ in range(5):
            sending.ended()
        fine.wait(5)
        spin(lambda: asked)
        assert asked == [120.0]
        assert len(busy.posts) == 1
        spin(lambda: sending.waiting() == 5)


def test_an_address_that_is_slow_holds_up_no_other(sending: Sending) -> None:
    """While one does not answer, all that others are owed arrives; what was cut counts as none."""
    stuck = threading.Event()
    with receiving(lambda *_: assert_(stuck.wait(PATIENCE_SECONDS))) as slow, receiving() as fine:
        try:
            deliverer = sending.post_to(slow.url, fine.url)
            sending.ended()
            slow.wait(1)
            for _ in range(5):
                sending.ended()
            fine.wait(6)
            spin(lambda: sending.waiting() == 6)
            deliverer.drain(0)
        finally:
            stuck.set()
        assert len(slow.posts) == 1
        for _ in range(6):
            delivery = sending.outbox.take(slow.url)
            assert delivery is not None
            assert delivery.attempts == 1


def test_an_address_that_meets_a_bug_holds_up_no_other(
    sending: Sending, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, with its traceback, and once that it is over."""
    caplog.set_level(logging.WARNING, "toolrunner.webhooks")
    with receiving() as one, receiving() as other:
        of, tries = sending.secrets.of, []

        def fails(url: str) -> tuple[str, ...]:
            if url == one.url:
                tries.append(url)
                raise ValueError(url)
            return of(url)

        with monkeypatch.context() as broken:
            broken.setattr(sending.secrets, "of", fails)
            deliverer = sending.post_to(one.url, other.url)
            for number in range(1, 4):
                sending.ended()
                other.wait(number)
                deliverer.post_to([one.url, other.url])  # which ends a pause
                spin(lambda: len(tries) >= number)  # noqa: B023 - called at once
            assert not one.posts
        deliverer.post_to([one.url, other.url])
        one.wait(3)
        spin(lambda: "is posted to again" in caplog.text)
    failing, over = caplog.records
    place = one.url.partition("?")[0]
    assert failing.getMessage().startswith(f"webhook {place} waits for what fails now: ")
    assert failing.exc_info is not None
    assert over.getMessage() == f"webhook {place} is posted to again"


def test_an_address_comes_and_goes_with_the_settings(sending: Sending) -> None:
    """One that is taken out is posted to no more, and has no thread; one that comes back is."""

    def threads() -> int:
        return sum(thread.name == "toolrunner-webhook" for thread in threading.enumerate())

    before = threads()
    with receiving() as one, receiving() as other:
        deliverer = sending.post_to(one.url, other.url)
        spin(lambda: threads() == before + 2)
        deliverer.post_to([other.url])
        spin(lambda: threads() == before + 1)
        sending.ended()
        other.wait(1)
        deliverer.post_to([one.url, other.url])
        sending.ended()
        one.wait(1)
        other.wait(2)
        deliverer.drain(PATIENCE_SECONDS)
    assert threads() == before
    assert len(one.posts) == 1


def nobody_listens() -> str:
    """Return an address where connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


def test_nobody_there_is_a_failure_like_others(sending: Sending) -> None:
    """Its reason is the host's."""
    sending.post_to(nobody_listens(), delays=())
    sending.ended()
    spin(lambda: sending.outbox.failed(1))
    assert "Connection refused" in str(sending.outbox.failed(1)[0].reason)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"SSH-2.0-none\r\n"])
def test_no_receiver_can_hold_the_sender(sent: bytes) -> None:
    """However slowly its answer drips, and whatever it is, the time for it ends."""
    end = threading.Event()

    def drip(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            link.sendall(sent)
            while sent.startswith(b"HTTP") and not end.wait(0.01):
                try:
                    link.sendall(b"x")
                except OSError:
                    return
            end.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            with pytest.raises(OSError, match=r"no answer in time|timed out|no HTTP came back"):
                Sender(0.3).post(url, b"{}", {})
        finally:
            end.set()
            thread.join()


def test_a_drain_posts_what_is_due_and_waits_for_no_one(sending: Sending) -> None:
    """What was cut counts as no attempt, and is posted by whoever is next."""
    with receiving() as receiver:
        deliverer = sending.post_to(receiver.url)
        for _ in range(5):
            sending.ended()
        deliverer.drain(PATIENCE_SECONDS)
        assert len(receiver.posts) == 5
        assert not sending.waiting()
        stuck = threading.Event()
        receiver.answer = lambda *_: assert_(stuck.wait(PATIENCE_SECONDS))
        deliverer = sending.post_to(receiver.url)
        sending.ended()
        receiver.wait(6)
        deliverer.drain(0)
        stuck.set()
        assert sending.waiting() == 1
        delivery = sending.outbox.take(receiver.url)
        assert delivery is not None
        assert delivery.attempts == 1


def assert_(holds: bool) -> None:
    """Be an expression."""
    assert holds


@in_both
def test_what_a_dead_process_was_at_is_posted_by_another(
    make_sending: Callable[[], Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to notice its death."""
    monkeypatch.setattr(outbox, "HELD_SECONDS", 0.1)
    with receiving() as receiver:
        sending = make_sending()
        sending.outbox.set_addresses([receiver.url])
        job = sending.ended()

        def die() -> None:
            assert make_sending().outbox.take(receiver.url) is not None
            os.kill(os.getpid(), signal.SIGKILL)

        child = FORK.Process(target=die)
        child.start()
        child.join()
        sending.post_to(receiver.url)
        [post] = receiver.wait(1)
        assert json.loads(post.body)["data"]["id"] == job.id


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost, and its key, in one file."""
    assert shutil.which("openssl"), "the tests need the program openssl"
    path = tmp_path / "both.pem"
    made = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        f" -keyout {path}.key -out {path}.crt"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    path.write_bytes(Path(f"{path}.crt").read_bytes() + Path(f"{path}.key").read_bytes())
    return path


def test_https_is_for_those_whose_certificate_is_trusted(
    sending: Sending, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are told nothing."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with ExitStack() as stack:
        receiver: Receiver = stack.enter_context(receiving(tls=tls))
        sending.post_to(receiver.url, delays=())
        sending.ended()
        spin(lambda: sending.outbox.failed(1))
        assert "CERTIFICATE_VERIFY_FAILED" in str(sending.outbox.failed(1)[0].reason)
        assert receiver.posts == []
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        assert Sender().post(receiver.url, b"{}", {}).status == 204
