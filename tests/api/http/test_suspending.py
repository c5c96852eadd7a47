"""Suspended plugins over HTTP: the operator's switch, and what callers are told."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.http.test_callers import token
from toolrunner.api.keys import Role
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.services.plugin_management import PluginManagementService

GOOD = {"plugin": "sample", "payload": {"n": 1}}
CRASH = {"plugin": "sample", "payload": {"fail": "crash"}}


@pytest.fixture
def closed(make_site: MakeSite) -> Site:
    """A server that wants keys, and suspends a plugin after two failures."""
    return make_site(keys=True, breaker_failures=2, breaker_seconds=600)


def test_the_operator_suspends_a_plugin_and_resumes_it(closed: Site) -> None:
    """Both answer with its status, count from the next call on, and are audited."""
    operator, caller = token(closed, "ops", role=Role.OPERATOR), token(closed, "alice")
    suspended = closed.post("/v1/plugins/sample/suspend", {}, **operator)
    assert suspended.status_code == 200
    shown = suspended.json()
    assert (shown["name"], shown["suspended_by"]) == ("sample", "operator")
    assert shown.keys() == closed.get("/v1/plugins/sample", **caller).json().keys()
    answer = closed.post("/v1/analyze", GOOD, **caller)
    detail = detail_of(answer, 400, "PluginUnavailable")
    assert detail["details"]["suspended_by"] == "operator"
    # Nobody knows when the operator changes his mind.
    assert "retry-after" not in answer.headers

    resumed = closed.post("/v1/plugins/sample/resume", {}, **operator).json()
    assert (resumed["name"], resumed["suspended_by"]) == ("sample", "")
    assert closed.post("/v1/analyze", GOOD, **caller).status_code == 200

    lines = [line for line in closed.audited() if "/v1/plugins/" in line["route"]]
    assert [(line["route"], line["outcome"]) for line in lines] == [
        ("POST /v1/plugins/sample/suspend", "suspended by operator"),
        ("POST /v1/plugins/sample/resume", "resumed"),
    ]
    assert {(line["caller"], line["plugin"], line["status"]) for line in lines} == {
        ("ops", "sample", 200)
    }


def test_a_suspended_plugin_is_told_to_who_may_see_it(closed: Site) -> None:
    """At /readyz, with by whom, which needs no key: by name to an operator's key alone."""
    assert closed.doors.keys is not None
    headers = [
        {"X-API-Key": closed.doors.keys.create(role, role=role)[1]}
        for role in (Role.OPERATOR, Role.CALLER)
    ]
    assert closed.get("/readyz", **headers[0]).json()["warnings"] == []
    closed.doors.backend.plugins.suspend("sample")
    assert closed.get("/readyz", **headers[0]).json()["warnings"] == [
        "sample is suspended by the operator (`toolrunner plugins enable sample` ends it)"
    ]
    for header in (headers[1], {}, {"X-API-Key": "wrong"}):
        answer = closed.get("/readyz", **header)
        assert (answer.status_code, answer.json()["warnings"]) == (
            200,
            ["plugins that are suspended: 1; ask with an operator's key for which"],
        )


def test_who_crashes_a_plugin_suspends_it_for_everybody(closed: Site) -> None:
    """Until its time is over, which callers are told, or the operator resumes it."""
    operator = token(closed, "ops", role=Role.OPERATOR)
    mallory, alice = token(closed, "mallory"), token(closed, "alice")
    for _ in range(2):
        detail_of(closed.post("/v1/analyze", CRASH, **mallory), 400, "PluginCrashed")
    answer = closed.post("/v1/analyze", GOOD, **alice)
    details = detail_of(answer, 400, "PluginUnavailable")["details"]
    assert details["suspended_by"] == "breaker"
    assert 0 < details["retry_after_seconds"] <= 600
    assert answer.headers["retry-after"] == str(details["retry_after_seconds"])
    assert closed.post("/v1/plugins/sample/resume", {}, **operator).json()["suspended_by"] == ""
    assert closed.post("/v1/analyze", GOOD, **alice).status_code == 200


def test_a_job_that_waits_for_the_end_of_a_suspension_says_so(site: Site) -> None:
    """By whom it is suspended and what to do: of the job, and at /readyz."""
    site.doors.backend.plugins.suspend("sample")
    job = site.post("/v1/jobs", GOOD).json()["id"]
    spin(lambda: "jobs" in " ".join(site.get("/readyz").json()["warnings"]))
    end = "it is suspended by the operator (`toolrunner plugins enable sample` ends it)"
    assert site.job(job)["waiting_for"] == f"sample to take calls again: {end}"
    assert (
        f"jobs that no server can run: 1 of sample 1.0.0: {end}"
        in (site.get("/readyz").json()["warnings"])
    )
    site.post("/v1/plugins/sample/resume", {})
    assert site.ended(job)["status"] == "SUCCESS"
    assert site.get("/readyz").json()["warnings"] == []


def test_a_job_that_waits_for_the_breaker_says_so(make_site: MakeSite) -> None:
    """With what ends it earlier, and how many failures there were."""
    site = make_site(breaker_failures=2, breaker_seconds=600)
    for _ in range(2):
        detail_of(site.post("/v1/analyze", CRASH), 400, "PluginCrashed")
    job = site.post("/v1/jobs", GOOD).json()["id"]
    spin(lambda: site.job(job)["waiting_for"])
    waits = site.job(job)["waiting_for"]
    for words in (
        "sample to take calls again: it is suspended by the circuit breaker",
        "as it has failed 2 times in a row",
        "`toolrunner plugins enable sample` ends it at once",
    ):
        assert words in waits
    site.post("/v1/plugins/sample/resume", {})
    assert site.ended(job)["status"] == "SUCCESS"


def test_refused_calls_count_as_errors_of_no_length(site: Site) -> None:
    """As each call does, whatever it has ended by: also in the average of the last ten."""
    site.doors.backend.plugins.suspend("sample")
    for _ in range(11):
        detail_of(site.post("/v1/analyze", GOOD), 400, "PluginUnavailable")
    status = site.get("/v1/plugins/sample").json()
    assert (status["error_count"], status["success_count"], status["failures_in_row"]) == (11, 0, 0)
    assert status["avg_execution_time_ms"] is not None
    assert (status["state"], status["last_failure"]) == ("LOADED", "")


def test_only_the_operator_may_and_only_what_there_is(closed: Site) -> None:
    """A caller's key is refused, and audited; an unknown plugin is 404."""
    operator, caller = token(closed, "ops", role=Role.OPERATOR), token(closed, "alice")
    for what in ("suspend", "resume"):
        detail_of(closed.post(f"/v1/plugins/sample/{what}", {}, **caller), 403, "Forbidden")
        for name in ("nobody", "%00", "..%2f..", "a" * 5000):
            answer = closed.post(f"/v1/plugins/{name}/{what}", {}, **operator)
            detail_of(answer, 404, "NotFound")
        detail_of(closed.get(f"/v1/plugins/sample/{what}", **operator), 405, "MethodNotAllowed")
    statuses = [line["status"] for line in closed.audited()]
    assert statuses == [403, 404, 404, 404] * 2  # what is no route is audited by nobody
    assert closed.get("/v1/plugins/sample", **caller).json()["suspended_by"] == ""


def unreadable(file: Path) -> None:
    """Put there what is no file of ours."""
    file.write_text("no JSON at all")


def unwritable(file: Path) -> None:
    """Have nothing replace it: not even root puts a file in the place of a folder's name."""
    file.with_suffix(".new").mkdir()


@pytest.mark.parametrize(
    ("what", "harm"),
    # Nothing is suspended by a file that cannot be read: no end of that has to be kept.
    [("suspend", unreadable), ("suspend", unwritable), ("resume", unwritable)],
)
def test_what_cannot_be_kept_changes_nothing(
    site: Site, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], what: str
) -> None:
    """The answer says when to ask again, one line of the log which file and what to do about it."""
    file = site.folder / "suspensions.json"
    if what == "resume":
        assert site.post("/v1/plugins/sample/suspend", {}).status_code == 200
    harm(file)
    before = file.read_bytes() if file.exists() else b""
    caplog.clear()
    answer = site.post(f"/v1/plugins/sample/{what}", {})
    detail = detail_of(answer, 503, "Overloaded")
    assert "state folder cannot be used" in detail["message"]
    assert answer.headers["retry-after"] == "10"
    records = [one for one in caplog.records if "stays as it was" in one.message]
    [message] = [one.message for one in records]
    assert str(file.with_suffix("")) in message
    assert "\n" not in message
    remedy = "; remove it, and suspend" if harm is unreadable else ".new cannot be used (Is a dir"
    assert remedy in message
    assert [one.exc_info for one in records] == [None]
    assert (file.read_bytes() if file.exists() else b"") == before
    called = site.post("/v1/analyze", GOOD).status_code
    assert called == (400 if what == "resume" else 200)


def test_what_the_shared_database_cannot_keep_is_no_matter_of_a_folder(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of servers that share their jobs it is PostgreSQL, whose own words are in the log."""
    away = Mock(side_effect=StoreError(errno.EIO, "postgresql://db/x cannot be used"))
    monkeypatch.setattr(PluginManagementService, "suspend", away)
    answer = site.post("/v1/plugins/sample/suspend", {})
    detail = detail_of(answer, 503, "Overloaded")
    assert "PostgreSQL" in detail["message"]
    assert "folder" not in detail["message"]
    assert answer.headers["retry-after"] == "10"
    assert "stays as it was: postgresql://db/x cannot be used" in caplog.text
