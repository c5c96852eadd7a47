"""Roles over HTTP: what is the operator's alone, and whose a job is."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from starlette.requests import Request

from tests.api.conftest import Cli
from tests.api.http.conftest import PATIENCE_SECONDS, MakeSite, Site, detail_of, spin
from tests.api.http.test_callers import GOOD, token
from toolrunner.api.http.callers import Caller, caller_of
from toolrunner.api.keys import Role


@pytest.fixture
def closed(make_site: MakeSite) -> Site:
    """A server that wants keys."""
    return make_site(keys=True)


def test_figures_are_the_operators(closed: Site) -> None:
    """A caller's key is refused, and told what it takes; it is nobody's business what others do."""
    caller = token(closed, "alice")
    detail = detail_of(closed.get("/metrics", **caller), 403, "Forbidden")
    assert "--role operator" in detail["message"]
    operator = token(closed, "ops", role=Role.OPERATOR)
    # This app keeps none: the operator is told so.
    detail_of(closed.get("/metrics", **operator), 404, "NotFound")


def test_a_scrape_is_not_held_against_the_rate(closed: Site) -> None:
    """An operator's other requests are, and so is a caller's try."""
    operator = token(closed, "ops", role=Role.OPERATOR, per_minute=2)
    assert {closed.get("/metrics", **operator).status_code for _ in range(5)} == {404}
    asked = [closed.get("/v1/plugins", **operator).status_code for _ in range(3)]
    assert asked == [200, 200, 429]
    caller = token(closed, "alice", per_minute=2)
    tried = [closed.get("/metrics", **caller).status_code for _ in range(3)]
    assert tried == [403, 403, 429]


def test_a_job_is_that_of_the_keys_name(closed: Site) -> None:
    """A new key of the same name finds what the old one has left."""
    assert closed.doors.keys is not None
    old = token(closed, "shop")
    job_id = closed.post("/v1/jobs", GOOD, **old).json()["id"]
    closed.doors.keys.revoke("shop")
    detail_of(closed.get(f"/v1/jobs/{job_id}", **old), 401, "Unauthorized")
    new = token(closed, "shop")
    assert closed.get(f"/v1/jobs/{job_id}", **new).status_code == 200
    assert [one["id"] for one in closed.get("/v1/jobs", **new).json()] == [job_id]


def test_without_keys_who_comes_by_loopback_is_the_operator(site: Site) -> None:
    """Whom --insecure lets in from elsewhere is not."""
    for server, is_operator in {
        ("127.0.0.1", 8000): True,
        ("127.8.0.1", 8000): True,
        ("::1", 8000): True,
        ("::ffff:127.0.0.1", 8000): True,
        ("192.0.2.7", 8000): False,
        ("::ffff:192.0.2.7", 8000): False,
        ("fe80::1%eth0", 8000): False,
        ("some.name", 8000): False,
        None: False,
    }.items():
        request = Request({"type": "http", "headers": [], "server": server})
        caller = asyncio.run(caller_of(request, site.doors))
        assert caller == Caller(is_operator=is_operator), server
    detail_of(site.get("/metrics"), 404, "NotFound")


def test_a_reload_is_the_operators(closed: Site) -> None:
    """Where no server was told how, there is none."""
    caller = token(closed, "alice")
    detail_of(closed.post("/v1/reload", {}, **caller), 403, "Forbidden")
    operator = token(closed, "ops", role=Role.OPERATOR)
    detail_of(closed.post("/v1/reload", {}, **operator), 404, "NotFound")


def test_revoking_a_key_ends_what_it_runs(closed: Site) -> None:
    """Its calls and its streams, within a second; those of others go on."""
    keys = closed.doors.keys
    assert keys is not None
    gone, stays = token(closed, "gone"), token(closed, "stays")
    [key] = [one for one in keys.list() if one.name == "gone"]
    endless = {"plugin": "sample", "payload": {"wait": True}}
    kept = closed.post("/v1/jobs", endless, **stays).json()["id"]
    job_id = closed.post("/v1/jobs", endless, **gone).json()["id"]
    with ThreadPoolExecutor(3) as threads:
        call = threads.submit(closed.post, "/v1/analyze", endless, **gone)
        first, other = Event(), Event()
        ends = threads.submit(told, closed, job_id, gone, first)
        goes_on = threads.submit(told, closed, kept, stays, other)
        spin(lambda: first.is_set() and other.is_set() and closed.doors.guests.keys == {key.id})
        keys.revoke("gone")
        details = detail_of(call.result(PATIENCE_SECONDS), 400, "Cancelled")["details"]
        assert (details["blame"], details["retryable"]) == ("host", False)
        assert details["cancelled_by"] == "operator"
        assert "CANCELLED" not in ends.result(PATIENCE_SECONDS)
        assert not goes_on.done()
        closed.client.delete(f"/v1/jobs/{kept}", headers=stays)
        assert "CANCELLED" in goes_on.result(PATIENCE_SECONDS)
    # Its jobs are its name's: they go on.
    new = token(closed, "gone")
    assert closed.get(f"/v1/jobs/{job_id}", **new).json()["ended_at"] is None
    closed.client.delete(f"/v1/jobs/{job_id}", headers=new)


def told(site: Site, job_id: str, header: dict[str, str], first: Event) -> str:
    """Return a job's stream of events; say when the first has come."""
    text = ""
    with site.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=header) as response:
        for line in response.iter_lines():
            text += line
            first.set()
    return text


def test_jobs_end_with_their_key_if_that_is_asked_for(closed: Site, cli: Cli) -> None:
    """All of its name that have not ended, and nobody else's."""
    gone, stays = token(closed, "gone"), token(closed, "stays")
    endless = {"plugin": "sample", "payload": {"wait": True}}
    ended = closed.post("/v1/jobs", GOOD, **gone).json()["id"]
    assert closed.doors.keys is not None
    spin(lambda: closed.get(f"/v1/jobs/{ended}", **gone).json()["ended_at"])
    jobs = [closed.post("/v1/jobs", endless, **gone).json()["id"] for _ in range(3)]
    kept = closed.post("/v1/jobs", endless, **stays).json()["id"]
    state = ("--state", closed.folder, "--json")
    done = cli(*state, "keys", "revoke", "gone", "--cancel-jobs")
    assert (done.status, json.loads(done.out)["cancelled_jobs"]) == (0, 3)
    new = token(closed, "gone")
    for job_id in jobs:
        spin(lambda: closed.get(f"/v1/jobs/{job_id}", **new).json()["status"] == "CANCELLED")  # noqa: B023 - called at once
    assert closed.get(f"/v1/jobs/{ended}", **new).json()["status"] == "SUCCESS"
    assert closed.get(f"/v1/jobs/{kept}", **stays).json()["ended_at"] is None
    closed.client.delete(f"/v1/jobs/{kept}", headers=stays)


def test_the_operator_sees_the_jobs_of_all_callers(closed: Site) -> None:
    """By the same routes, with whose they are. A caller sees its own, and may ask for no others."""
    alice, bob = token(closed, "alice"), token(closed, "bob")
    operator = token(closed, "ops", role=Role.OPERATOR)
    hers = closed.post("/v1/jobs", GOOD, **alice).json()["id"]
    spin(lambda: closed.get(f"/v1/jobs/{hers}", **alice).json()["ended_at"])
    endless = {"plugin": "sample", "payload": {"wait": True}}
    his = closed.post("/v1/jobs", endless, **bob).json()["id"]
    listed = closed.get("/v1/jobs", **operator).json()
    assert [(one["id"], one["caller"]) for one in listed] == [(his, "bob"), (hers, "alice")]
    assert "caller" not in closed.get(f"/v1/jobs/{hers}", **alice).json()
    assert closed.get(f"/v1/jobs/{hers}/result", **operator).status_code == 200
    assert "SUCCESS" in closed.get(f"/v1/jobs/{hers}/events", **operator).text
    for query, ids in {
        "caller=alice": [hers],
        "caller=": [],
        "status=SUCCESS": [hers],
        "plugin=sample&caller=bob": [his],
        "plugin=none": [],
        "dead=true": [],
        f"before={his}": [hers],
    }.items():
        found = [one["id"] for one in closed.get(f"/v1/jobs?{query}", **operator).json()]
        assert found == ids, query
    assert [one["id"] for one in closed.get("/v1/jobs?caller=alice", **alice).json()] == [hers]
    detail_of(closed.get("/v1/jobs?caller=bob", **alice), 403, "Forbidden")
    detail_of(closed.get("/v1/jobs?caller=", **alice), 403, "Forbidden")
    detail_of(closed.get(f"/v1/jobs/{his}", **alice), 404, "NotFound")
    detail_of(closed.get(f"/v1/jobs?before={his}", **alice), 404, "NotFound")
    answer = closed.client.delete(f"/v1/jobs/{his}", headers=operator)
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    for who in (bob, operator):  # it is his, and she did it
        details = detail_of(closed.get(f"/v1/jobs/{his}/result", **who), 400, "Cancelled")[
            "details"
        ]
        assert (details["blame"], details["cancelled_by"]) == ("host", "operator")
        assert details["retryable"] is False


def test_a_dead_job_is_retried_by_its_caller_or_the_operator(closed: Site) -> None:
    """As the job that it is, under its caller's name; nobody else knows of it."""
    alice, bob = token(closed, "alice"), token(closed, "bob")
    operator = token(closed, "ops", role=Role.OPERATOR)
    failing = {"plugin": "sample", "payload": {"fail": "bug"}}
    job_id = closed.post("/v1/jobs", failing, **alice).json()["id"]
    path = f"/v1/jobs/{job_id}"

    def failed(attempts: int) -> bool:
        job = closed.get(path, **alice).json()
        return (job["status"], job["attempts"], job["dead"]) == ("FAILED", attempts, True)

    spin(lambda: failed(1))
    detail_of(closed.post(f"{path}/retry", b"", **bob), 404, "NotFound")
    for attempts, who in ((2, operator), (3, alice)):
        answer = closed.post(f"{path}/retry", b"", **who)
        assert (answer.status_code, answer.headers["Location"]) == (202, path)
        assert (answer.json()["id"], answer.json()["error"]) == (job_id, None)
        spin(lambda: failed(attempts))  # noqa: B023 - called at once
    [dead] = closed.get("/v1/jobs?dead=true", **operator).json()
    assert (dead["id"], dead["caller"]) == (job_id, "alice")
    wrong = {"plugin": "sample", "payload": {"fail": "invalid"}}
    other = closed.post("/v1/jobs", wrong, **alice).json()["id"]
    spin(lambda: closed.get(f"/v1/jobs/{other}", **alice).json()["ended_at"])
    detail = detail_of(closed.post(f"/v1/jobs/{other}/retry", b"", **alice), 409, "Conflict")
    assert "its caller's fault" in detail["message"]
