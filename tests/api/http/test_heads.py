"""Heads of requests: too large, to be read in two ways, of another form, several at once.

And the frames of bodies: how many there may be, and what reading them costs others.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket

import h11
import pytest

from tests.api.http.conftest import Site, spin
from tests.api.http.test_edges import detail_in, read_all
from toolrunner.api.serve.heads import MOST_SMALL_CHUNKS, StrictConnection
from toolrunner.api.serve.protocol import MOST_READ_BYTES, PatientProtocol

HOST = b"Host: localhost\r\n"
GOOD = json.dumps({"plugin": "sample", "payload": {"n": 1}}).encode()
CHUNKED = (
    b"POST /v1/analyze HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: application/json\r\nConnection: close\r\n"
    + b"Transfer-Encoding: chunked\r\n\r\n"
)


def exchanged(site: Site, request: bytes) -> bytes:
    """Send bytes, and return everything until the server closes."""
    with socket.create_connection(site.address[:2]) as client:
        client.settimeout(30)
        # The server need not read to the end what it refuses: it may be gone before.
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(1 << 16):
                data += piece
    return data


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Large: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Many: a\r\n" * 20_000 + b"\r\n",
    ],
    ids=["target", "header", "headers"],
)
def test_a_head_that_is_too_large_is_431(site: Site, head: bytes) -> None:
    """With how much it may have; and the server is as it was."""
    answer = exchanged(site, head)
    # One that was closed while the client still wrote may be reset before it can be read.
    if answer:
        assert b" 431 " in answer.splitlines()[0]
        detail = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
        assert detail["type"] == "HeadTooLarge"
        assert "16384 bytes" in detail["message"]
    assert site.get("/healthz").status_code == 200


def test_a_head_just_too_large_is_answered(site: Site) -> None:
    """All of it is read, so nothing can reset the connection before its answer."""
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Large: " + b"a" * 16_384)
        answer = read_all(client)
    assert b" 431 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("blanks", [0, 10_000], ids=["value", "blanks"])
def test_a_head_that_has_come_whole_is_bounded_too(site: Site, blanks: int) -> None:
    """In one piece, with a body behind it that does not count."""
    start = b"POST /v1/analyze HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    start += b"Connection: close\r\nContent-Length: %d\r\nX-Large:" % len(GOOD)

    def padded(size: int) -> bytes:
        filling = size - len(start) - blanks - len(b"\r\n\r\n")
        return start + b" " * blanks + b"a" * filling + b"\r\n\r\n" + GOOD

    assert b" 200 " in exchanged(site, padded(16_384)).splitlines()[0]
    answer = exchanged(site, padded(16_385))
    assert b" 431 " in answer.splitlines()[0]
    assert b"HeadTooLarge" in answer


@pytest.mark.parametrize("first", ["length", "encoding"])
def test_two_lengths_of_a_body_end_the_connection(site: Site, first: str) -> None:
    """400; what a proxy may have taken for the body's end is no request of ours."""
    lengths = [b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"]
    if first != "length":
        lengths.reverse()
    answer = exchanged(
        site,
        b"POST /v1/analyze HTTP/1.1\r\n"
        + HOST
        + b"".join(lengths)
        + b"\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n"
        + HOST
        + b"\r\n",
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert "exclude each other" in detail_in(answer)["message"]
    assert b"connection: close" in answer.lower()
    assert site.executed == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://localhost/healthz", 200),
        (b"HTTP://localhost:80/healthz?", 200),
        (b"https://localhost/healthz", 200),
        (b"http://localhost", 200),
        (b"http://evil.example/healthz", 403),
        (b"http:///healthz", 400),
        (b"http://me@localhost/healthz", 400),
        (b"http://localhost#.evil.example/healthz", 400),
        (b"http://localhost\\.evil.example/healthz", 400),
        (b"http://evil@127.0.0.1?/healthz", 400),
        (b"ftp://localhost/healthz", 404),
        (b"*", 404),
    ],
)
def test_a_target_may_name_its_host(site: Site, target: bytes, status: int) -> None:
    """It is the one that counts then, whatever ``Host`` says."""
    request = b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    answer = exchanged(site, request)
    assert int(answer.split()[1]) == status


def test_the_host_of_a_target_is_not_overruled(site: Site) -> None:
    """A foreign ``Host`` beside a target of ours is no matter."""
    answer = exchanged(
        site,
        b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    )
    assert b" 200 " in answer.splitlines()[0]


def test_requests_in_one_piece_are_answered_in_their_order(site: Site) -> None:
    """Each by its own answer, a body between them too."""
    post = (
        b"POST /v1/analyze HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(GOOD)
        + GOOD
    )
    get = b"GET /v1/plugins/nobody HTTP/1.1\r\n" + HOST
    answer = exchanged(site, post + get + b"\r\n" + post + get + b"Connection: close\r\n\r\n")
    statuses = [int(piece[:3]) for piece in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200, 404]
    assert [one.outcome for one in site.executed] == ["success"] * 2


def test_nothing_behind_what_was_refused_is_a_request(site: Site) -> None:
    """Neither what came with it nor what comes later."""
    get = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = exchanged(site, get + b"no HTTP\r\n\r\n" + get)
    statuses = [int(piece[:3]) for piece in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 400]


def test_a_body_that_breaks_the_grammar_ends_its_request(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """400, once, and no bug in the log."""
    answer = exchanged(site, CHUNKED + b"zz\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert detail_in(answer)["type"] == "ValidationError"
    assert site.get("/healthz").status_code == 200
    assert "Traceback" not in caplog.text
    assert "Exception in ASGI" not in caplog.text


def test_who_leaves_in_the_middle_of_a_body_is_no_bug(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is left of it, in the log neither."""
    with caplog.at_level(logging.DEBUG, "toolrunner.http"):
        with socket.create_connection(site.address[:2]) as client:
            client.sendall(
                b"POST /v1/analyze HTTP/1.1\r\n"
                + HOST
                + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
            assert site.get("/healthz").status_code == 200
        spin(lambda: "'/v1/analyze'" in caplog.text)
    assert "Traceback" not in caplog.text
    assert site.executed == []


def chunk(data: bytes) -> bytes:
    """Return bytes as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "chunks",
    [chunk(b" ") * (MOST_SMALL_CHUNKS - 1), chunk(b" " * 32) * (MOST_SMALL_CHUNKS * 2)],
    ids=["of a byte each", "of a line each"],
)
def test_a_body_in_many_small_chunks_is_read(site: Site, chunks: bytes) -> None:
    """As from a program that streams its JSON token by token, or line by line."""
    answer = exchanged(site, CHUNKED + chunks + chunk(GOOD) + chunk(b""))
    assert b" 200 " in answer.splitlines()[0]


def test_a_body_of_next_to_nothing_but_chunks_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first that is too many, before the body has ended; others are answered."""
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(CHUNKED + chunk(b" ") * MOST_SMALL_CHUNKS)
        assert site.get("/healthz").status_code == 200
        client.sendall(chunk(b" "))
        answer = read_all(client)
    assert b" 400 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()
    assert "chunks that are too small" in detail_in(answer)["message"]
    assert site.get("/healthz").status_code == 200
    assert "Traceback" not in caplog.text


def test_what_waits_to_be_read_is_not_copied_for_each_chunk() -> None:
    """Or each would cost as much as all that are behind it."""
    looks = 0

    class Counting(StrictConnection):
        @property
        def trailing_data(self) -> tuple[bytes, bool]:
            nonlocal looks
            looks += 1
            return super().trailing_data

    connection = Counting(16_384)
    connection.receive_data(CHUNKED + chunk(b" ") * 1000)
    events = [connection.next_event() for _ in range(1001)]
    assert all(type(event) is h11.Data for event in events[1:])
    assert looks <= 2


def test_one_read_of_a_connection_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has come: what it costs to look at it, all others wait for."""
    sizes: list[int] = []
    receive = PatientProtocol.data_received

    def noting(self: PatientProtocol, data: bytes) -> None:
        sizes.append(len(data))
        receive(self, data)

    monkeypatch.setattr(PatientProtocol, "data_received", noting)
    assert site.post("/v1/analyze", b" " * (1 << 20) + GOOD).status_code == 200
    assert sum(sizes) > 1 << 20
    assert max(sizes) <= MOST_READ_BYTES
