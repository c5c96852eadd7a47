"""Jobs over HTTP: stored, watched, cancelled, and nobody else's."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin

in_sqlite = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
WAITING = {"plugin": "sample", "payload": {"wait": True, "progress": 0.25}}
Event = tuple[int, str, dict[str, Any]]


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings that say where jobs are kept: once in each kind of store."""
    if request.param == "sqlite":
        return {}
    url = request.getfixturevalue("database")
    return {"jobs": url, "blobs": (tmp_path / "blobs").as_uri()}


def created(site: Site, body: object, **headers: str) -> str:
    """Leave a job, and return its id."""
    response = site.post("/v1/jobs", body, **headers)
    assert response.status_code == 202, response.text
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    return str(job["id"])


def events_of(text: str) -> list[Event]:
    """Return the events of a stream, as a client reads them."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def test_a_job_runs_and_its_result_is_there(site: Site) -> None:
    """As analyze would have answered."""
    job_id = created(site, {"plugin": "sample", "payload": {"n": 5}, "retries": 2})
    job = site.ended(job_id)
    assert job.keys() == {
        "id",
        "plugin",
        "status",
        "progress",
        "created_at",
        "started_at",
        "ended_at",
        "attempts",
        "error",
        "waiting_for",
        "dead",
        "caller",  # who asks by the loopback, without keys, is the operator
    }
    assert (job["plugin"], job["status"], job["attempts"]) == ("sample", "SUCCESS", 1)
    response = site.get(f"/v1/jobs/{job_id}/result")
    assert response.status_code == 200
    assert response.json() == {"result": {"got": 5}, "plugin": "sample"}


def test_a_file_can_be_left_as_well(site: Site) -> None:
    """The form has the same fields."""
    response = site.client.post(
        "/v1/jobs",
        data={"plugin": "looks", "mime_type": "image/png", "retries": "1"},
        files={"image": ("a.png", b"12345")},
    )
    assert response.status_code == 202, response.text
    site.ended(response.json()["id"])
    result = site.get(f"/v1/jobs/{response.json()['id']}/result").json()["result"]
    assert result["size"] == 5


def test_a_failed_job_answers_with_its_error(site: Site) -> None:
    """400, as for analyze; and no path in it."""
    job_id = created(site, {"plugin": "sample", "payload": {"fail": "bug"}})
    job = site.ended(job_id)
    assert (job["status"], job["error"]["type"]) == ("FAILED", "ExecutionError")
    response = site.get(f"/v1/jobs/{job_id}/result")
    detail = detail_of(response, 400, "ExecutionError")
    assert detail == job["error"]
    assert "/srv/secret" not in response.text


def test_a_result_is_a_conflict_until_it_is_there(site: Site) -> None:
    """409, and what the job is."""
    job_id = created(site, WAITING)
    response = site.get(f"/v1/jobs/{job_id}/result")
    detail_of(response, 409, "Conflict")
    site.client.delete(f"/v1/jobs/{job_id}")


def test_a_cancelled_job_is_killed(site: Site) -> None:
    """The answer comes when it has ended."""
    job_id = created(site, WAITING)
    spin(lambda: site.job(job_id)["progress"] == 0.25)
    response = site.client.delete(f"/v1/jobs/{job_id}")
    assert response.status_code == 200
    assert response.json()["status"] == "CANCELLED"
    details = detail_of(site.get(f"/v1/jobs/{job_id}/result"), 400, "Cancelled")["details"]
    assert (details["blame"], details["cancelled_by"]) == ("caller", "caller")
    # Once more changes nothing.
    assert site.client.delete(f"/v1/jobs/{job_id}").json() == response.json()


def test_events_tell_all_that_has_happened(site: Site) -> None:
    """In order, each with a number; the stream ends with the job."""
    job_id = created(site, {"plugin": "sample", "payload": {"progress": 0.5, "n": 1}})
    response = site.get(f"/v1/jobs/{job_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events_of(response.text) == [
        (1, "status", {"status": "PENDING"}),
        (2, "status", {"status": "RUNNING"}),
        (3, "progress", {"fraction": 0.5, "message": "so far, in where"}),
        (4, "status", {"status": "SUCCESS"}),
    ]


def test_events_go_on_after_the_last_one_seen(site: Site) -> None:
    """By the header that browsers send, or by a parameter; nothing twice."""
    job_id = created(site, {"plugin": "sample", "payload": {"progress": 0.5}})
    site.ended(job_id)
    by_header = site.get(f"/v1/jobs/{job_id}/events", **{"Last-Event-ID": "2"})
    by_parameter = site.get(f"/v1/jobs/{job_id}/events?after=2")
    assert [event[0] for event in events_of(by_header.text)] == [3, 4]
    assert by_header.text == by_parameter.text
    assert site.get(f"/v1/jobs/{job_id}/events?after=4").text == ""
    for bad in ("-1", "x", "9" * 30):
        detail_of(site.get(f"/v1/jobs/{job_id}/events?after={bad}"), 400, "ValidationError")
        response = site.get(f"/v1/jobs/{job_id}/events", **{"Last-Event-ID": bad})
        detail_of(response, 400, "ValidationError")


def test_events_come_while_the_job_runs(site: Site) -> None:
    """Not at its end; and a server that drains ends the stream."""
    job_id = created(site, WAITING)
    with site.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        text = ""
        for piece in response.iter_text():
            text += piece
            if "progress" in text and not site.draining.is_set():
                assert site.job(job_id)["status"] == "RUNNING"
                site.draining.set()
    assert events_of(text)[-1][1] == "progress"
    site.client.delete(f"/v1/jobs/{job_id}")


def test_the_same_request_with_the_same_key_is_the_same_job(site: Site) -> None:
    """And another request with it is a conflict."""
    body = {"plugin": "sample", "payload": {"n": 1}}
    first = created(site, body, **{"Idempotency-Key": "once"})
    assert created(site, body, **{"Idempotency-Key": "once"}) == first
    assert created(site, body) != first
    other = {"plugin": "sample", "payload": {"n": 2}}
    detail_of(site.post("/v1/jobs", other, **{"Idempotency-Key": "once"}), 409, "Conflict")
    for bad in ("", "x" * 201):
        response = site.post("/v1/jobs", body, **{"Idempotency-Key": bad})
        detail_of(response, 400, "ValidationError")


def test_jobs_are_listed_newest_first(make_site: MakeSite) -> None:
    """Page by page, and by status."""
    site = make_site(jobs=False)
    ids = [created(site, {"plugin": "sample", "payload": {"n": n}}) for n in range(4)]
    listed = [job["id"] for job in site.get("/v1/jobs").json()]
    assert listed == ids[::-1]
    page = [job["id"] for job in site.get(f"/v1/jobs?limit=2&before={ids[2]}").json()]
    assert page == [ids[1], ids[0]]
    site.client.delete(f"/v1/jobs/{ids[0]}")
    [cancelled] = site.get("/v1/jobs?status=CANCELLED").json()
    assert cancelled["id"] == ids[0]
    for query in ("limit=0", "limit=1001", "status=DONE", "x=1"):
        detail_of(site.get(f"/v1/jobs?{query}"), 400, "ValidationError")


@pytest.mark.parametrize("setting", ["max_jobs", "max_jobs_mb"])
def test_a_full_queue_is_503(setting: str, make_site: MakeSite) -> None:
    """And says which setting bounds it, and when to come again."""
    site = make_site(jobs=False, **{setting: 1})
    job = {"plugin": "sample", "payload": {"text": "x" * 600_000}}
    created(site, job)
    response = site.post("/v1/jobs", job)
    assert f"({setting})" in detail_of(response, 503, "Overloaded")["message"]
    assert int(response.headers["retry-after"]) > 0


def test_a_payload_that_no_queue_may_hold_is_413(make_site: MakeSite) -> None:
    """It would be refused for ever: nobody is told to come again."""
    site = make_site(jobs=False, max_jobs_mb=1)
    response = site.post("/v1/jobs", {"plugin": "sample", "payload": {"text": "x" * 1_100_000}})
    assert "(max_jobs_mb)" in detail_of(response, 413, "PayloadTooLarge")["message"]
    assert "retry-after" not in response.headers


def test_a_job_that_is_cancelled_before_it_ran_says_so(make_site: MakeSite) -> None:
    """It has no error of a call, since there was none."""
    site = make_site(jobs=False)
    job_id = created(site, {"plugin": "sample", "payload": {}})
    response = site.client.delete(f"/v1/jobs/{job_id}")
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    detail_of(site.get(f"/v1/jobs/{job_id}/result"), 400, "Cancelled")


@in_sqlite
def test_a_job_that_cannot_be_stored_is_not_accepted(make_site: MakeSite) -> None:
    """503, and it says that nothing was changed."""
    site = make_site(jobs=False)
    with closing(sqlite3.connect(site.folder / "jobs.sqlite3")) as intruder:
        intruder.execute("ALTER TABLE jobs RENAME TO elsewhere")
        response = site.post("/v1/jobs", {"plugin": "sample", "payload": {}})
        intruder.execute("ALTER TABLE elsewhere RENAME TO jobs")
    assert "nothing was changed" in detail_of(response, 503, "Overloaded")["message"]
    assert response.headers["Retry-After"] == "10"
    assert site.get("/v1/jobs").json() == []
    assert list((site.folder / "payloads").iterdir()) == []


def test_a_job_for_nobody_is_refused_at_once(site: Site) -> None:
    """It could never run."""
    response = site.post("/v1/jobs", {"plugin": "nobody", "payload": {}})
    detail_of(response, 400, "PluginNotFound")
    assert site.get("/v1/jobs").json() == []


@pytest.mark.parametrize("retries", ["1", 1.5, True, -1, 11])
def test_retries_are_a_small_number(site: Site, retries: object) -> None:
    """Anything else is an error that says so."""
    body = {"plugin": "sample", "payload": {}, "retries": retries}
    detail = detail_of(site.post("/v1/jobs", body), 400, "ValidationError")
    assert "from 0 to 10" in detail["message"]


@pytest.mark.parametrize("path", ["", "/result", "/events"])
def test_a_job_that_there_is_not_is_404(site: Site, path: str) -> None:
    """Whatever is wanted of it."""
    for job_id in ("0" * 32, "x", "%00", "..", "a" * 10_000):
        response = site.get(f"/v1/jobs/{job_id}{path}")
        if response.status_code != 400:  # what the server does not even read as a path
            detail_of(response, 404, "NotFound")
    detail_of(site.client.delete("/v1/jobs/" + "0" * 32), 404, "NotFound")
