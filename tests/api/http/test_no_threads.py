"""A server whose host has no thread left, or cannot isolate."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.api.http.conftest import MakeSite, detail_of
from tests.conftest import WritePlugin
from tests.faults.host.conftest import no_threads

FINE = "def run(payload): return {'fine': True}"


def test_a_server_says_that_it_lacks_threads(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with Retry-After, a line for each request, and no traceback; later it serves."""
    site = make_site(jobs=False)
    caplog.set_level(logging.INFO)
    asked = {"plugin": "sample", "payload": {"n": 1}}
    with no_threads():
        ready = site.get("/readyz")
        called = site.post("/v1/analyze", asked)
        listed = site.get("/v1/plugins")
        assert site.get("/healthz").status_code == 200
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
    assert "no thread can be started" in ready.json()["reasons"][0]
    for answer in (called, listed):
        details = detail_of(answer, 503, "Overloaded")["details"]
        assert answer.headers["Retry-After"] == "1"
        assert (details["blame"], details["retryable"]) == ("host", True)
    records = [record for record in caplog.records if record.name.startswith("toolrunner")]
    assert not [record for record in records if record.exc_info]
    told = [record for record in records if "no thread can be started" in record.getMessage()]
    assert len(told) == 2
    assert [line["status"] for line in site.audited()] == [503]
    assert site.post("/v1/analyze", asked).json()["result"] == {"got": 1}
    assert site.get("/readyz").status_code == 200


def test_a_host_that_cannot_isolate_is_told_when_to_be_asked_again(
    make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """Each 503 that is retryable has Retry-After."""
    plugin: Path = write_plugin(FINE, require='["landlock:99"]')
    answer = make_site(plugin).post("/v1/analyze", {"plugin": "sample", "payload": {}})
    assert detail_of(answer, 503, "SandboxError")["details"]["retryable"]
    assert answer.headers["Retry-After"] == "1"
