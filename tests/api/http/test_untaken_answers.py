"""Answers that their clients do not take: how long they are held, and how many for whom."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import toolrunner.api.serve.protocol
from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.http.test_artifacts import MAKES, PNG, asking
from tests.conftest import WritePlugin
from toolrunner.api.http.errors import RequestError
from toolrunner.api.http.held import Held
from toolrunner.api.keys import KeyStore

LARGE = ("large.bin", "x/y", 24 << 20)  # more than the buffers of a connection


@pytest.fixture
def plugin(write_plugin: WritePlugin) -> Path:
    """A plugin that makes what it is asked for."""
    return write_plugin(MAKES, name="makes")


@contextmanager
def not_taken(
    site: Site, key: str = "none", request_for: object = None, path: str = ""
) -> Iterator[socket.socket]:
    """Ask for a large answer, by GET of a path if it is given, and take its head alone."""
    body = b"" if path else json.dumps(request_for or asking(LARGE)).encode()
    head = f"GET {path}" if path else "POST /v1/analyze"
    head += f" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: application/json\r\nX-API-Key: {key}\r\n\r\n"
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(head.encode() + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        yield client


def test_answers_that_nobody_takes_are_bounded(make_site: MakeSite, plugin: Path) -> None:
    """More is Overloaded, until a client has taken its own or has left."""
    site = make_site(plugin, max_body_mb=1)
    assert site.post("/v1/analyze", asking(PNG)).status_code == 200
    with not_taken(site):
        response = site.post("/v1/analyze", asking(PNG))
        detail_of(response, 503, "Overloaded")
        assert int(response.headers["retry-after"]) > 0
        assert site.post("/v1/analyze", asking()).status_code == 200
    spin(lambda: site.post("/v1/analyze", asking(PNG)).status_code == 200)


def test_who_takes_nothing_keeps_nobody_else_from_anything(
    make_site: MakeSite, plugin: Path
) -> None:
    """Each key has a share, however large its answers are."""
    site = make_site(plugin, max_body_mb=1, keys=True)
    with closing(KeyStore(site.folder)) as store:
        (_, idle), (_, other) = store.create("idle"), store.create("other")
    with not_taken(site, idle):
        detail_of(site.post("/v1/analyze", asking(PNG), **{"X-API-Key": idle}), 503, "Overloaded")
        for file in (PNG, LARGE):
            answer = site.post("/v1/analyze", asking(file), **{"X-API-Key": other})
            assert answer.status_code == 200


@pytest.mark.parametrize("is_job", [False, True])
def test_results_that_nobody_takes_are_bounded_as_well(
    make_site: MakeSite, write_plugin: WritePlugin, is_job: bool
) -> None:
    """Whether they come at once or of a job; what is small is not counted."""
    tells = write_plugin("def run(p): return {'text': 'x' * p['size']}", name="tells")
    site = make_site(tells, max_body_mb=1)
    large, small = ({"plugin": "tells", "payload": {"size": size}} for size in (8 << 20, 100))
    path = ""
    if is_job:
        job_id = site.post("/v1/jobs", large).json()["id"]
        site.ended(job_id)
        path = f"/v1/jobs/{job_id}/result"
    with not_taken(site, request_for=large, path=path):
        response = site.get(path) if path else site.post("/v1/analyze", large)
        detail = detail_of(response, 503, "Overloaded")
        assert "not been taken" in detail["message"]
        assert int(response.headers["retry-after"]) > 0
        assert site.post("/v1/analyze", small).status_code == 200
    spin(lambda: site.post("/v1/analyze", large).status_code == 200)
    if path:
        answer = site.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["result"] == {"text": "x" * (8 << 20)}


@pytest.mark.parametrize("request_for", [asking(LARGE), {"plugin": "tells", "payload": {}}])
def test_an_answer_that_is_not_taken_is_dropped(
    make_site: MakeSite,
    plugin: Path,
    write_plugin: WritePlugin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request_for: dict[str, Any],
) -> None:
    """With its connection, though all of it was written; and what was held for it is free."""
    monkeypatch.setattr(toolrunner.api.serve.protocol, "TAKE_SECONDS", 0.2)
    tells = write_plugin("def run(_): return {'text': 'x' * (8 << 20)}", name="tells")
    site = make_site(plugin, tells, max_body_mb=1)
    with (
        caplog.at_level(logging.WARNING, "toolrunner.http"),
        not_taken(site, request_for=request_for) as client,
    ):
        spin(lambda: "its connection is dropped" in caplog.text)
        assert taken(client) < 8 << 20
    spin(lambda: site.post("/v1/analyze", asking(PNG)).status_code == 200)


def test_who_takes_enough_gets_all_of_it(
    make_site: MakeSite, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: what counts is how much of it is taken."""
    monkeypatch.setattr(toolrunner.api.serve.protocol, "TAKE_SECONDS", 1.0)
    site = make_site(plugin)
    with not_taken(site) as client:
        assert taken(client, pause=0.05) > LARGE[2] * 4 // 3


def taken(client: socket.socket, pause: float = 0.0) -> int:
    """Return how many bytes come until the connection ends, or nothing more is to come."""
    size, never = 0, threading.Event()
    try:
        while piece := client.recv(1 << 20):
            size += len(piece)
            if piece.endswith(b'"}]}'):
                break
            never.wait(pause)
    except ConnectionResetError:
        pass
    return size


def test_no_caller_can_have_more_than_a_share() -> None:
    """One larger answer counts as a share; what is given back can be had again."""
    held = Held(100)
    with held.holding("a", 30), held.holding("a", 20), held.holding("b", 1000):
        for caller in ("a", "b", "c"):
            with pytest.raises(RequestError, match="too many large answers"):
                held.holding(caller, 1).__enter__()
    for caller in ("a", "b", "c"):
        with held.holding(caller, 50):
            pass
