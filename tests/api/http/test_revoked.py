"""A key that is revoked while a request of it is under way: its body comes, or its answer goes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import toolrunner.api.http.callers
from tests.api.http.conftest import MakeSite, Site, spin
from tests.api.http.test_artifacts import MAKES, asking
from tests.api.http.test_edges import read_all
from tests.api.http.test_untaken_answers import LARGE, not_taken, taken
from tests.conftest import WritePlugin
from toolrunner.api.key import Keys

ASKED = json.dumps({"plugin": "sample", "payload": {"n": 1}}).encode()


def keys_of(site: Site) -> Keys:
    """Return the keys of a server that has some."""
    assert site.doors.keys is not None
    return site.doors.keys


@contextmanager
def reading(site: Site, path: str, key: str) -> Iterator[socket.socket]:
    """Send a head, and yield when the key has been looked up and the body is waited for."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"X-API-Key: {key}\r\nContent-Length: {len(ASKED)}\r\nExpect: 100-continue\r\n"
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(f"{head}Connection: close\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100")
        client.sendall(ASKED[:-1])
        yield client


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/jobs"])
def test_a_body_that_ends_after_its_key_runs_nothing(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is told so, as the next request would be; one whose key lives is served."""
    monkeypatch.setattr(toolrunner.api.http.callers, "LOOK_AGAIN_SECONDS", 0.0)
    site = make_site(keys=True)
    keys = keys_of(site)
    (_, gone), (_, stays) = keys.create("gone"), keys.create("stays")
    with reading(site, path, gone) as client, reading(site, path, stays) as other:
        keys.revoke("gone")
        client.sendall(ASKED[-1:])
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"has been revoked" in answer
        assert site.executed == []
        other.sendall(ASKED[-1:])
        assert read_all(other).startswith(b"HTTP/1.1 20")
    assert [one["reason"] for one in site.audited() if one["status"] == 401] == ["revoked key"]


@pytest.mark.parametrize("is_job", [False, True])
def test_an_answer_that_is_still_sent_ends_with_its_key(
    make_site: MakeSite, write_plugin: WritePlugin, is_job: bool
) -> None:
    """Soon, and without all of it: the connection breaks, and nothing is held for it."""
    site = make_site(write_plugin(MAKES, name="makes"), keys=True)
    keys = keys_of(site)
    key, token = keys.create("gone")
    path = ""
    if is_job:
        header = {"X-API-Key": token}
        job_id = site.post("/v1/jobs", asking(LARGE), **header).json()["id"]
        spin(lambda: site.get(f"/v1/jobs/{job_id}", **header).json()["ended_at"])
        path = f"/v1/jobs/{job_id}/artifacts/{LARGE[0]}"
    with not_taken(site, token, path=path) as client:
        spin(lambda: site.doors.guests.keys == {key.id})
        keys.revoke("gone")
        spin(lambda: not site.doors.guests.keys)
        assert taken(client) < LARGE[2]
