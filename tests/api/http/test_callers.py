"""Keys over HTTP: what is shut without one, what one opens, and what is written down."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin

GOOD = {"plugin": "sample", "payload": {"n": 1}}
CLOSED = ["/v1/plugins", "/v1/plugins/sample", "/v1/jobs", "/v1/jobs/x", "/metrics"]


@pytest.fixture
def closed(make_site: MakeSite) -> Site:
    """A server that wants keys."""
    return make_site(keys=True)


def token(site: Site, name: str, **keys: Any) -> dict[str, str]:
    """Make a key, and return the header that carries it."""
    assert site.doors.keys is not None
    return {"Authorization": f"Bearer {site.doors.keys.create(name, **keys)[1]}"}


def test_without_a_key_everything_is_shut(closed: Site) -> None:
    """But what says whether the server lives."""
    for path in CLOSED:
        response = closed.get(path)
        detail_of(response, 401, "Unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")
    detail_of(closed.post("/v1/analyze", GOOD), 401, "Unauthorized")
    detail_of(closed.post("/v1/jobs", b"{"), 401, "Unauthorized")
    assert closed.get("/healthz").status_code == 200
    ready = closed.get("/readyz")
    assert ready.status_code == 503
    assert "toolrunner keys create NAME" in ready.json()["reasons"][0]
    assert closed.executed == []


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": "Bearer tr_00000000_" + "A" * 43},
        {"Authorization": "Basic dHI6eA=="},
        {"Authorization": "Bearer"},
        {"X-API-Key": "x"},
        {"X-API-Key": ""},
    ],
)
def test_what_is_no_key_opens_nothing(closed: Site, header: dict[str, str]) -> None:
    """Whatever it looks like."""
    detail_of(closed.get("/v1/plugins", **header), 401, "Unauthorized")


def test_a_key_opens_by_either_header(closed: Site) -> None:
    """Until it is revoked."""
    bearer = token(closed, "alice")
    other = {"X-API-Key": bearer["Authorization"].removeprefix("Bearer ")}
    lower = {"Authorization": bearer["Authorization"].replace("Bearer", "bearer")}
    for header in (bearer, other, lower):
        assert closed.post("/v1/analyze", GOOD, **header).status_code == 200
    assert closed.doors.keys is not None
    closed.doors.keys.revoke("alice")
    detail_of(closed.post("/v1/analyze", GOOD, **bearer), 401, "Unauthorized")


def test_a_key_opens_only_its_plugins(closed: Site) -> None:
    """Others are forbidden to run, and are not shown."""
    header = token(closed, "narrow", plugins=["looks"])
    for path in ("/v1/analyze", "/v1/jobs"):
        detail_of(closed.post(path, GOOD, **header), 403, "Forbidden")
    assert [one["name"] for one in closed.get("/v1/plugins", **header).json()] == ["looks"]
    detail_of(closed.get("/v1/plugins/sample", **header), 404, "NotFound")
    assert closed.executed == []


def test_a_key_that_asks_too_often_has_to_wait(closed: Site) -> None:
    """It is told how long; other keys are not."""
    header, other = token(closed, "busy", per_minute=2), token(closed, "calm")
    statuses = [closed.get("/v1/plugins", **header).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    response = closed.get("/v1/plugins", **header)
    detail = detail_of(response, 429, "RateLimited")
    assert detail["details"]["retryable"]
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert closed.get("/v1/plugins", **other).status_code == 200


def test_a_job_is_its_callers_alone(closed: Site) -> None:
    """To others it does not exist, and an idempotency key is each one's own."""
    mine, theirs = token(closed, "mine"), token(closed, "theirs")
    once = {"Idempotency-Key": "once"}
    job_id = closed.post("/v1/jobs", GOOD, **mine, **once).json()["id"]
    for path in ("", "/result", "/events"):
        detail_of(closed.get(f"/v1/jobs/{job_id}{path}", **theirs), 404, "NotFound")
    response = closed.client.delete(f"/v1/jobs/{job_id}", headers=theirs)
    detail_of(response, 404, "NotFound")
    assert closed.get("/v1/jobs", **theirs).json() == []
    assert closed.post("/v1/jobs", GOOD, **theirs, **once).json()["id"] != job_id
    assert closed.get(f"/v1/jobs/{job_id}", **mine).status_code == 200


def test_the_audit_log_says_who_did_what(closed: Site) -> None:
    """Calls, jobs, cancels, and what was refused; never a payload."""
    header = token(closed, "alice", plugins=["sample"])
    assert closed.doors.keys is not None
    [key] = closed.doors.keys.list()
    secret = {"plugin": "sample", "payload": {"n": "s3cret", "fail": "bug"}}
    answer = closed.post("/v1/analyze", secret, **header)
    job_id = closed.post("/v1/jobs", GOOD, **header).json()["id"]
    closed.client.delete(f"/v1/jobs/{job_id}", headers=header)
    closed.post("/v1/analyze", {"plugin": "looks", "payload": {}}, **header)
    closed.get("/v1/plugins")
    closed.get("/v1/plugins", **header)
    lines = closed.audited()
    assert [(one["route"].split("/")[0], one["status"]) for one in lines] == [
        ("POST ", 400),
        ("POST ", 202),
        ("DELETE ", 200),
        ("POST ", 403),
        ("GET ", 401),
    ]
    assert [one["outcome"] for one in lines[:2]] == ["ExecutionError", "PENDING"]
    assert [one["outcome"] for one in lines[3:]] == ["Forbidden", "Unauthorized"]
    assert [one["caller"] for one in lines] == ["alice"] * 4 + [""]
    assert [one["key"] for one in lines] == [key.id] * 4 + [""]
    assert [one["plugin"] for one in lines] == ["sample", "sample", "sample", "looks", ""]
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    assert lines[0]["client"] == "127.0.0.1"
    assert lines[0]["ms"] >= 0
    text = (closed.folder / "audit.log").read_text()
    assert "s3cret" not in text
    assert header["Authorization"][10:] not in text


def test_the_operator_is_told_why_a_key_was_refused(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, the audit log and the figures; who asks is told no difference."""
    site = make_site(keys=True, figures=True, keyless_per_minute=3)
    busy, old = token(site, "busy", per_minute=1), token(site, "old")
    narrow = token(site, "narrow", plugins=["looks"])
    assert site.doors.keys is not None
    site.doors.keys.revoke("old")
    wrong = {"Authorization": old["Authorization"][:-43] + "A" * 43}
    site.get("/v1/plugins", **busy)
    with caplog.at_level(logging.INFO, "toolrunner.http"):
        answers = [site.get("/v1/plugins", **one) for one in ({}, wrong, old, old, busy)]
        answers.append(site.post("/v1/analyze", GOOD, **narrow))
        answers.append(site.post("/v1/analyze", {"plugin": "looks", "payload": {}}, **narrow))
        spin(lambda: len(caplog.records) >= len(answers))
    assert answers[1].json()["detail"]["message"] == answers[2].json()["detail"]["message"]
    told = [one.getMessage() for one in caplog.records if one.name == "toolrunner.http"]
    allowed = "this key does not allow the plugin; those that it allows: looks"
    assert [re.sub(r" in \d+ ms: ", " ", one.removesuffix(" from 127.0.0.1")) for one in told] == [
        "GET '/v1/plugins' 401 Unauthorized (no key)",
        "GET '/v1/plugins' 401 Unauthorized (unknown key)",
        "GET '/v1/plugins' 401 Unauthorized (revoked key) of the key old",
        "GET '/v1/plugins' 429 RateLimited (keyless_per_minute) of the key old",
        "GET '/v1/plugins' 429 RateLimited (rate of the key: 1 a minute) of the key busy",
        f"POST '/v1/analyze' 403 Forbidden ({allowed}) of the key narrow",
        "POST '/v1/analyze' 400 ValidationError of the key narrow",
    ]
    assert all(one.endswith(" from 127.0.0.1") for one in told)
    assert [one.get("reason") for one in site.audited()] == [
        "no key",
        "unknown key",
        "revoked key",
        "keyless_per_minute",
        "rate of the key",
        None,
        None,
    ]
    assert site.doors.metrics is not None
    doors = site.doors
    figures = site.doors.metrics.exposition(doors.backend, doors.problems()).decode()
    for kind, reason in (
        ("Unauthorized", "no key"),
        ("Unauthorized", "unknown key"),
        ("Unauthorized", "revoked key"),
        ("RateLimited", "keyless_per_minute"),
        ("RateLimited", "rate of the key"),
    ):
        assert f'toolrunner_refusals_total{{reason="{kind}",why="{reason}"}} 1.0\n' in figures
    assert 'toolrunner_refusals_total{reason="Forbidden"} 1.0\n' in figures


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "localhost:{port}"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example:{port}"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Host": "["}, 403),
    ],
)
def test_without_keys_no_page_of_another_site_gets_in(
    site: Site, headers: dict[str, str], status: int
) -> None:
    """Also under a name that was made to point here. What is no browser is asked for nothing."""
    given = {name: value.replace("{port}", str(site.address[1])) for name, value in headers.items()}
    response = site.post("/v1/analyze", GOOD, **given)
    assert response.status_code == status, response.text
    if status == 403:
        detail_of(response, 403, "Forbidden")
        assert site.executed == []


def test_with_keys_pages_may_call(closed: Site) -> None:
    """A page that has a key was given it."""
    header = token(closed, "page")
    response = closed.post("/v1/analyze", GOOD, **header, Origin="https://shop.example")
    assert response.status_code == 200
