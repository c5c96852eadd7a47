"""What is the same for every request: ids, headers, sizes, unknown places, bugs, the log."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

import toolrunner.api.http.middleware
import toolrunner.api.serve.protocol
from tests.api.http.conftest import (
    PATIENCE_SECONDS,
    AnyResponse,
    MakeSite,
    Site,
    detail_of,
    spin,
)
from toolrunner.api.http.context import REQUEST_ID, ContextFilter
from toolrunner.api.shown import public, without_paths
from toolrunner.runner.services import PluginManagementService

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_every_answer_has_an_id_of_its_own_and_the_headers(site: Site) -> None:
    """Whatever it is an answer to."""
    answers: list[AnyResponse] = [
        site.get("/healthz"),
        site.get("/nothing"),
        site.client.put("/v1/jobs"),
        site.post("/v1/analyze", b"{"),
        site.get("/openapi.json"),
    ]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(len(one) == 32 for one in ids)
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_a_place_that_there_is_not_is_404(site: Site) -> None:
    """With or without a slash too many; and no page of anybody's."""
    for path in ("/nothing", "/v1/analyze/", "/docs/", "/redoc", "/v1", "/%2e%2e/etc/passwd"):
        detail_of(site.get(path), 404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/analyze", "POST"),
        ("HEAD", "/v1/analyze", "POST"),
        ("PUT", "/v1/jobs/x", "DELETE, GET, HEAD"),
        ("DELETE", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/v1/plugins", "GET, HEAD"),
        ("TRACE", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_method_that_there_is_not_is_405(
    site: Site, method: str, path: str, allowed: str
) -> None:
    """With all that there are, as the standard wants it."""
    response = site.client.request(method, path)
    if method == "HEAD":  # it has no body to look at
        assert response.status_code == 405
    else:
        detail_of(response, 405, "MethodNotAllowed")
    assert response.headers["allow"] == allowed


def test_an_announced_body_that_is_too_large_is_refused_unread(make_site: MakeSite) -> None:
    """Before a byte of it has been sent."""
    site = make_site(max_body_mb=1)
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9999999\r\n\r\n"
        )
        answer = read_all(client)
    assert b" 413 " in answer.splitlines()[0]
    detail = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    assert detail["type"] == "PayloadTooLarge"
    assert "max_body_mb" in detail["message"]


@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data; boundary=x"])
def test_an_endless_body_is_refused_when_it_is_too_large(
    make_site: MakeSite, media_type: str
) -> None:
    """Nobody has to announce it."""
    site = make_site(max_body_mb=1)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: " + media_type.encode() + b"\r\n\r\n"
        )
        if media_type.startswith("multipart"):
            head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            client.sendall(b"%x\r\n%s\r\n" % (len(head), head))
        try:
            for _ in range(40):
                client.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(client)
    assert b" 413 " in answer.splitlines()[0]
    # The server is as it was.
    assert site.get("/healthz").status_code == 200


def test_many_large_bodies_at_once_are_refused_before_they_fill_memory(
    make_site: MakeSite,
) -> None:
    """503, and there is room again when the others are gone."""
    site = make_site(max_body_mb=1)
    size = 1 << 20
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    large = {"plugin": "sample", "payload": {"n": "x" * (size // 2)}}
    holders = [socket.create_connection(site.address[:2]) for _ in range(6)]
    try:
        for holder in holders:
            with contextlib.suppress(OSError):  # it may be the one that is refused
                holder.sendall(head + b"Content-Length: %d\r\n\r\n" % size + b" " * (size - 1))
        refused, _, _ = select.select(holders, [], [], 30)
        answer = read_all(refused[0])
        assert b" 503 " in answer.splitlines()[0]
        assert b"retry-after: 1" in answer
        assert b'"type":"Overloaded"' in answer
    finally:
        for holder in holders:
            holder.close()
    spin(lambda: site.post("/v1/analyze", large).status_code == 200)


def test_a_body_that_never_comes_holds_up_nobody(site: Site) -> None:
    """However many there are of them."""
    slow = [socket.create_connection(site.address[:2]) for _ in range(20)]
    try:
        for client in slow:
            client.sendall(
                b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
        answer = site.post("/v1/analyze", {"plugin": "sample", "payload": {"n": 1}})
        assert answer.status_code == 200
    finally:
        for client in slow:
            client.close()
    assert [one.outcome for one in site.executed] == ["success"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/analyze HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["bytes", "header", "length"],
)
def test_what_is_no_http_is_400(site: Site, garbage: bytes) -> None:
    """And only that connection ends."""
    with socket.create_connection(site.address[:2]) as client:
        # The server need not read to the end what it refuses: it may be gone before.
        with contextlib.suppress(ConnectionError):
            client.sendall(garbage)
        answer = read_all(client)
    detail = detail_in(answer)
    assert (detail["type"], detail["details"]["blame"]) == ("ValidationError", "caller")
    assert b"x-request-id: " + detail["details"]["request_id"].encode() in answer
    assert site.get("/healthz").status_code == 200


def test_a_head_that_does_not_come_ends_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an answer if anything of it had come; a connection that served before as well."""
    monkeypatch.setattr(toolrunner.api.serve.protocol, "HEAD_SECONDS", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for has_served in (False, True):
        with socket.create_connection(site.address[:2]) as client:
            if has_served:
                client.sendall(request)
                assert b" 200 " in read_all(client)
            client.sendall(b"GET /healthz HT")
            answer = read_all(client)
        assert "did not come" in detail_in(answer)["message"]
    with socket.create_connection(site.address[:2]) as client:
        assert client.recv(1) == b""


def test_more_connections_than_there_may_be_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and there is room again when others are gone."""
    monkeypatch.setattr(toolrunner.api.serve.protocol, "MOST_CONNECTIONS", 3)
    address = site.address[:2]
    site.client.close()
    holders = [socket.create_connection(address) for _ in range(3)]
    with socket.create_connection(address) as client:
        client.sendall(b"GET /v1/plugins HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_all(client)
    assert b" 503 " in answer.splitlines()[0]
    assert b'"type":"Overloaded"' in answer
    for holder in holders:
        holder.close()

    def is_served() -> bool:
        with socket.create_connection(address) as client:
            client.sendall(b"GET /v1/plugins HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return b" 200 " in read_all(client)

    spin(is_served)


def test_a_body_that_hardly_comes_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its client would go on; one that has come may be worked on for longer."""
    monkeypatch.setattr(toolrunner.api.http.middleware, "PATIENCE_SECONDS", 0.2)
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        answer = read_all(client)
    assert detail_in(answer)["type"] == "ValidationError"
    assert b"too slowly" in answer
    slow = site.post("/v1/analyze", {"plugin": "sample", "payload": {"seconds": 0.5, "n": 1}})
    assert slow.json()["result"] == {"got": 1}


def test_a_body_that_came_fast_may_not_be_silent_for_longer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before counts for nothing: the last byte has to come as soon as any other."""
    monkeypatch.setattr(toolrunner.api.http.middleware, "PATIENCE_SECONDS", 0.2)
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000001\r\n\r\n" + b" " * 10_000_000
        )
        client.settimeout(30)
        answer = read_all(client)
    assert b"too slowly" in answer


def test_who_sends_no_ends_keeps_nobody_else_from_sending(make_site: MakeSite) -> None:
    """Of the bodies that are held at once each key has a share, and what is given up is free."""
    site = make_site(max_body_mb=1, keys=True)
    assert site.doors.keys is not None
    (_, silent), (_, other) = site.doors.keys.create("silent"), site.doors.keys.create("other")
    filling = {"plugin": "sample", "payload": {"n": 1, "x": "y" * 700_000}}
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {silent}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:

        def is_overloaded() -> bool:
            # One more each time: what comes at the same time as the filling may be refused itself.
            client = stack.enter_context(socket.create_connection(site.address[:2]))
            client.sendall(head.encode() + b" " * 999_900)
            answer = site.post("/v1/analyze", filling, **{"X-API-Key": silent})
            return answer.status_code == 503 and "of this caller" in answer.text

        spin(is_overloaded)
        assert site.post("/v1/analyze", filling, **{"X-API-Key": other}).status_code == 200
    spin(lambda: site.post("/v1/analyze", filling, **{"X-API-Key": silent}).status_code == 200)


def test_a_bug_is_500_and_its_traceback_is_in_the_log_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer says under which id to look for it."""

    def broken(_service: PluginManagementService) -> None:
        message = "secret detail"
        raise ArithmeticError(message)

    monkeypatch.setattr(PluginManagementService, "list_plugins", broken)
    with caplog.at_level(logging.ERROR, "toolrunner.http"):
        response = site.get("/v1/plugins")
    detail = detail_of(response, 500, "InternalError")
    assert response.headers["x-request-id"] in detail["message"]
    assert "secret detail" not in response.text
    assert "secret detail" in caplog.text
    assert response.headers["x-request-id"] in caplog.text


def http_records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return what the door has logged."""
    return [r.__dict__ for r in caplog.records if r.name == "toolrunner.http"]


def test_what_is_logged_carries_the_request(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Its id, its trace if it is a well-formed one, and the plugin."""
    caplog.handler.addFilter(ContextFilter())
    with caplog.at_level(logging.DEBUG, "toolrunner.http"):
        answer = site.post(
            "/v1/analyze", {"plugin": "sample", "payload": {}}, traceparent=TRACEPARENT
        )
        site.get("/healthz", traceparent="junk\u007f")
        # A request is logged once its answer is out.
        end = time.monotonic() + PATIENCE_SECONDS
        while len(records := http_records(caplog)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert records[0]["request_id"] == answer.headers["x-request-id"]
    assert records[0]["traceparent"] == TRACEPARENT
    assert records[0]["plugin"] == "sample"
    assert records[1]["traceparent"] == ""
    assert records[1]["plugin"] == ""


def test_threads_without_a_request_have_no_id() -> None:
    """A filter says so with nothing."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(REQUEST_ID.get()))
    thread.start()
    thread.join()
    record = logging.makeLogRecord({"plugin": "given"})
    assert ContextFilter().filter(record)
    assert (seen, record.__dict__["request_id"], record.__dict__["plugin"]) == ([""], "", "given")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("no such file: '/srv/plugins/a.py'", "no such file: 'a.py'"),
        ("/srv/plugins/a.py:3: bad", "a.py:3: bad"),
        ("image/png and text/plain", "image/png and text/plain"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("see http://[::1]/a or s3://a-bucket/b/c", "see http://[::1]/a or s3://a-bucket/b/c"),
        ("see:/srv/a.py", "see:a.py"),
        ("PATH=/srv/a.py:/srv/b.py", "PATH=a.py:b.py"),
        ("A=/x:/y/z", "A=/x:z"),
        ("blobs = file:///srv/blobs/a", "blobs = file://a"),
        ("in /tmp/x/ and /etc/ssl/", "in  and "),
        ("open '/srv/my plugins/a.py' or '/b/c'", "open 'a.py' or 'c'"),
        (
            "x: toolrunner plugins install --state '/my state' /srv/a.py",
            "x: toolrunner plugins install a.py",
        ),
        ("1/2", "1/2"),
        ("a sub-folder/of/it", "a sub-folder/of/it"),
    ],
)
def test_paths_are_cut_from_texts(text: str, rest: str) -> None:
    """What only looks like one is left."""
    assert without_paths(text) == rest


def test_paths_are_cut_from_all_of_an_error() -> None:
    """However deep."""
    error = {"type": "X", "message": "/a/b", "details": {"log_tail": "x", "n": [{"p": "/c/d"}, 1]}}
    assert public(error) == {"type": "X", "message": "b", "details": {"n": [{"p": "d"}, 1]}}


def test_addresses_are_cut_from_an_error() -> None:
    """Where an object lies says nothing to a caller, and something of the process to others."""
    error = {
        "type": "X",
        "message": "no image file <_io.BytesIO object at 0x7f47aB01>",
        "details": {},
    }
    assert public(error)["message"] == "no image file <_io.BytesIO object>"


def detail_in(answer: bytes) -> dict[str, Any]:
    """Return the detail of an answer that is 400."""
    assert b" 400 " in answer.splitlines()[0]
    detail: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    return detail


def read_all(client: socket.socket) -> bytes:
    """Return everything until the server closes, or resets."""
    client.settimeout(30)
    data = b""
    try:
        while piece := client.recv(1 << 16):
            data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            if b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n" and body:
                break
    except ConnectionResetError:
        pass
    return data
