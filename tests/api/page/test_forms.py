"""What changes something: only forms of this server's own pages do, and of one's own session."""

from __future__ import annotations

import pytest

from tests.api.http.conftest import Site, spin
from tests.api.page.conftest import SignIn, Visit, is_page, visit
from toolrunner.api.key import Role

WAITS = {"plugin": "sample", "payload": {"wait": True}}


def left(at: Site, payload: dict[str, object], caller: str = "") -> str:
    """Leave a job for the plugin that does as it is told; return its id."""
    from toolrunner.runner.jobs.job import Submission

    return at.doors.backend.analysis.submit(Submission("sample", payload, caller))[0].id


def status_of(at: Site, job_id: str) -> str:
    """Return how a job stands."""
    job = at.doors.backend.jobs.get_job(job_id, None)
    assert job is not None
    return job.status


ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_forms_of_other_sites_change_nothing(
    closed: Site, operator: Visit, headers: dict[str, str]
) -> None:
    """Even with everything that a page of ours would send."""
    job = left(closed, {"wait": True}, "ops")
    path = f"/page/jobs/{job}/cancel"
    page = is_page(operator.post(path, headers, confirmation=operator.confirmation), 403)
    assert "not sent by a page of this server" in page.text
    assert status_of(closed, job) in {"PENDING", "RUNNING"}
    is_page(operator.post("/page/logout", headers, confirmation=operator.confirmation), 403)
    is_page(operator.post("/page/login", headers, key="x"), 403)


def test_forms_need_the_confirmation_of_their_own_session(
    closed: Site, operator: Visit, sign_in: SignIn
) -> None:
    """None, a wrong one, another session's: nothing happens; with one's own it does."""
    job = left(closed, {"wait": True}, "ops")
    path = f"/page/jobs/{job}/cancel"
    other = sign_in("other", role=Role.OPERATOR)
    assert other.confirmation != operator.confirmation
    for wrong in ({}, {"confirmation": ""}, {"confirmation": other.confirmation}):
        page = is_page(operator.post(path, **wrong), 403)
        assert "load its page again" in page.text
    is_page(operator.client.post(path, headers={"Content-Type": "text/plain"}, content="x"), 403)
    assert status_of(closed, job) in {"PENDING", "RUNNING"}
    answer = operator.client.post(path, headers={"X-Confirmation": operator.confirmation})
    assert answer.url.path == f"/page/jobs/{job}"
    spin(lambda: status_of(closed, job) == "CANCELLED")
    lines = [one for one in closed.audited() if one["outcome"] == "CANCELLED"]
    assert [(one["caller"], one["route"]) for one in lines] == [("ops", f"POST {path}")]


def test_the_same_without_keys(site: Site) -> None:
    """The browser carries nothing then, and so the confirmation is the server's."""
    browser = visit(site)
    job = left(site, {"wait": True})
    path = f"/page/jobs/{job}/cancel"
    for headers in ELSEWHERE:
        assert browser.post(path, headers, confirmation=browser.confirmation).status_code == 403
    is_page(browser.post(path), 403)
    assert status_of(site, job) in {"PENDING", "RUNNING"}
    browser.confirmed(path)
    spin(lambda: status_of(site, job) == "CANCELLED")


def test_a_dead_job_is_run_again(closed: Site, operator: Visit) -> None:
    """From its page; one that is not dead is not, and the page says so."""
    job = left(closed, {"fail": "bug"}, "ops")
    spin(lambda: status_of(closed, job) == "FAILED")
    page = operator.get(f"/page/jobs/{job}")
    assert f'action="/page/jobs/{job}/retry"' in page.text
    assert operator.confirmed(f"/page/jobs/{job}/retry").url.path == f"/page/jobs/{job}"
    spin(lambda: status_of(closed, job) == "FAILED" and len(closed.executed) == 2)
    good = left(closed, {"n": 1}, "ops")
    spin(lambda: status_of(closed, good) == "SUCCESS")
    is_page(operator.confirmed(f"/page/jobs/{good}/retry"), 409)


def test_a_form_that_is_none_or_too_large(operator: Visit) -> None:
    """It is refused before all of it is read."""
    is_page(operator.confirmed("/page/logout", much="x" * 100_000), 413)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    is_page(operator.client.post("/page/logout", headers=headers, content=b"\xff\xfe"), 400)
    fields = "&".join(f"f{n}=" for n in range(100))
    is_page(operator.client.post("/page/logout", headers=headers, content=fields), 400)


def test_an_error_of_a_script_is_a_piece_of_a_page(operator: Visit) -> None:
    """It is put where notices are; who has to sign in again is led there."""
    hx = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    answer = operator.client.post("/page/jobs/none/cancel", headers=hx)
    assert answer.status_code == 403
    assert answer.text.startswith('<p class="notice bad" role="alert">')
    operator.client.cookies.clear()
    assert operator.client.get("/page/jobs", headers=hx).headers["hx-redirect"] == "/page/login"
