"""What is on the pages: the operator's everything, a caller's its own; all of it as text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site, spin
from tests.api.page.conftest import Elements, SignIn, Visit, is_page, visit
from tests.api.page.test_forms import left, status_of
from tests.conftest import WritePlugin
from toolrunner.api.page.visitors import COOKIE
from toolrunner.runner.jobs.job import Submission

HOSTILE = "</pre></textarea><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m"
MAKES = """
    class InvalidInput(Exception):
        pass

    PNG = bytes.fromhex("89504e470d0a1a0a") + b"and so on"

    def run(payload, context):
        context.progress(0.5, payload["words"])
        if payload.get("fail"):
            raise ValueError(payload["words"])
        context.artifact("photo.png", PNG, "image/png")
        context.artifact("evil.svg", b"<svg><script>alert(1)</script></svg>", "image/svg+xml")
        context.artifact("evil.html", b"<script>alert(1)</script>", "text/html")
        context.artifact("evil.js", b"alert(1)", "text/javascript")
        return {payload["words"]: [payload["words"], "x" * payload.get("long", 0)]}
"""


@pytest.fixture
def makes(make_site: MakeSite, write_plugin: WritePlugin) -> Site:
    """A server with a plugin that gives back what is hostile."""
    return make_site(write_plugin(MAKES, name="makes"))


def ended(at: Site, payload: dict[str, Any]) -> str:
    """Leave a job for that plugin; return its id when it has ended."""
    job = at.doors.backend.analysis.submit(Submission("makes", payload))[0].id
    spin(lambda: status_of(at, job) in {"SUCCESS", "FAILED"})
    return job


def test_the_overview_is_the_operators(operator: Visit, sign_in: SignIn) -> None:
    """A caller's key is led to what it may see."""
    page = is_page(operator.get("/"), 200)
    assert {one["href"] for one in page.of("a")} >= {"/page/plugins/sample", "/page/jobs"}
    assert "landlock" in page.text
    refused = is_page(sign_in("alice").get("/"), 403)
    assert {one["href"] for one in refused.of("a")} >= {"/page/plugins", "/page/jobs"}
    assert "/" not in {one["href"] for one in refused.of("a")}


def test_a_caller_sees_its_own(closed: Site, operator: Visit, sign_in: SignIn) -> None:
    """Of jobs and of plugins; what is another's does not exist for it, whatever it does."""
    alice, bob = sign_in("alice", plugins=["sample"]), sign_in("bob", plugins=["looks"])
    job = left(closed, {"n": 1}, "alice")
    spin(lambda: status_of(closed, job) == "SUCCESS")
    assert f"/page/jobs/{job}" in alice.get("/page/jobs").text
    assert f"/page/jobs/{job}" in operator.get("/page/jobs?caller=alice").text
    for query in ("", "?caller=alice", "?status=SUCCESS", "?plugin=sample"):
        assert job not in bob.get(f"/page/jobs{query}").text, query
    for path in ("", "/result", "/artifacts/x"):
        is_page(bob.get(f"/page/jobs/{job}{path}"), 404)
    for doing in ("cancel", "retry"):
        is_page(bob.confirmed(f"/page/jobs/{job}/{doing}"), 404)
    is_page(bob.get(f"/page/jobs?before={job}"), 404)
    is_page(bob.get(f"/page/live?of=job&name={job}"), 404)
    is_page(bob.get("/page/live?of=overview"), 403)
    assert "sample" not in is_page(bob.get("/page/plugins"), 200).text
    assert "sample" not in is_page(bob.get("/page/plugins/sample"), 404).text.replace(
        "'sample'", ""
    )
    is_page(alice.get("/page/plugins/sample"), 200)


def test_a_job_says_how_far_it_is_and_how_long_it_took(site: Site) -> None:
    """In numbers, while it runs and after; also in the lists."""
    job = left(site, {"progress": 0.25, "seconds": 0, "wait": True})
    spin(lambda: (found := site.doors.backend.jobs.get_job(job, None)) and found.progress)
    browser = visit(site)
    page = browser.get(f"/page/jobs/{job}").text
    assert ">25 %</span>" in page
    assert re.search(r"<dt>Started</dt><dd><time [^<]*</time>, waited [\d.]+ s</dd>", page)
    assert re.search(r"<dt>Ran for</dt><dd>[\d.]+ s so far</dd>", page)
    for path in ("/", "/page/jobs"):
        assert ">25 %</span>" in browser.get(path).text
    browser.confirmed(f"/page/jobs/{job}/cancel")
    spin(lambda: status_of(site, job) == "CANCELLED")
    page = browser.get(f"/page/jobs/{job}").text
    assert re.search(r"<dt>Ended</dt><dd><time [^<]*</time></dd>", page)
    assert re.search(r"<dt>Ran for</dt><dd>[\d.]+ s</dd>", page)


def test_the_document_of_the_api_leads_back(closed: Site, operator: Visit, sign_in: SignIn) -> None:
    """Whoever has signed in, to what is theirs; anybody else, to signing in."""
    views = {"/", "/page/plugins", "/page/jobs", "/docs", "/page/attacks"}
    leads = {one["href"] for one in is_page(operator.get("/docs"), 200).of("a")}
    assert views <= leads
    leads = {one["href"] for one in is_page(sign_in("alice").get("/docs"), 200).of("a")}
    assert views & leads == {"/page/plugins", "/page/jobs", "/docs"}
    nobody = visit(closed)
    assert "/page/login?next=/docs" in {
        one["href"] for one in Elements(nobody.get("/docs").text).of("a")
    }
    nobody.client.cookies.set(COOKIE, "made up")
    is_page(nobody.get("/docs"), 200)


def test_jobs_are_filtered_and_paged(site: Site) -> None:
    """By what they are; the older ones are a page further on."""
    site.doors.backend.plugins.suspend("sample")
    jobs = [left(site, {"n": n}) for n in range(53)]
    browser = visit(site)
    first = is_page(browser.get("/page/jobs?status=PENDING&plugin=sample&caller="), 200)
    shown = [one["href"] for one in first.of("a") if one.get("class") == "id"]
    assert shown == [f"/page/jobs/{job}" for job in reversed(jobs[3:])]
    [older] = [one["href"] for one in first.of("a") if one.get("rel") == "next"]
    second = is_page(browser.get(older), 200)
    shown = [one["href"] for one in second.of("a") if one.get("class") == "id"]
    assert shown == [f"/page/jobs/{job}" for job in reversed(jobs[:3])]
    assert not [one for one in second.of("a") if one.get("rel") == "next"]
    for query in ("status=FAILED", "plugin=looks", "status=dead"):
        assert "There is no such job" in browser.get(f"/page/jobs?{query}").text
    is_page(browser.get("/page/jobs?status=NONE"), 404)
    is_page(browser.get("/page/jobs?before=none"), 404)


def test_what_a_plugin_gives_back_is_text(makes: Site) -> None:
    """Its result, its error and its progress: nothing of it becomes an element."""
    browser = visit(makes)
    for payload in ({"words": HOSTILE}, {"words": HOSTILE, "fail": True}):
        page = is_page(browser.get(f"/page/jobs/{ended(makes, payload)}"), 200)
        assert "<script>alert(1)</script>" in page.text
        assert not [one for one in page.of("img") if one["src"] == "x"]
        assert "\u202e" not in page.text
        assert "\\u202e" in page.text
        assert "\x1b" not in page.text
    for path in ("/", "/page/jobs", "/page/plugins", "/page/plugins/makes"):
        page = is_page(browser.get(path), 200)
        assert not [one for one in page.of("img") if one["src"] == "x"]


def test_what_is_asked_for_is_text(site: Site) -> None:
    """The filter, a path that there is not, a page to go to: they come back as what they are."""
    browser = visit(site)
    for path in (
        f"/page/{HOSTILE}",
        f"/page/jobs?plugin={HOSTILE}",
        f"/page/jobs?status={HOSTILE}",
        f"/page/plugins/{HOSTILE}",
        f"/page/jobs/{HOSTILE}",
        f"/page/live?of={HOSTILE}",
        f"/?span={HOSTILE}",
        f"/page/jobs?{HOSTILE}=1",
    ):
        answer = browser.get(
            path.replace("/pre", "pre").replace("/textarea", "").replace("\x1b", "")
        )
        page = is_page(answer, answer.status_code)
        assert not [one for one in page.of("img") if one.get("src") == "x"], path
        assert len(page.of("script")) == 2, path


def test_artifacts_are_pictures_or_to_be_saved(makes: Site) -> None:
    """Shown are those that browsers decode as pictures; none is ever run or opened as a page."""
    job = ended(makes, {"words": "w"})
    browser = visit(makes)
    page = is_page(browser.get(f"/page/jobs/{job}"), 200)
    shown = [one["src"] for one in page.of("img") if "artifacts" in one["src"]]
    assert shown == [f"/page/jobs/{job}/artifacts/photo.png"]
    types = {"photo.png": "image/png", "evil.svg": "image/svg+xml", "evil.html": "text/html",
             "evil.js": "text/plain; charset=utf-8"}  # fmt: skip
    for name, media_type in types.items():
        sent = browser.get(f"/page/jobs/{job}/artifacts/{name}")
        assert sent.headers["content-type"] == media_type
        assert sent.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert sent.headers["content-security-policy"].startswith("sandbox;")
        assert sent.headers["x-content-type-options"] == "nosniff"
    is_page(browser.get(f"/page/jobs/{job}/artifacts/none.png"), 404)


def test_a_long_result_is_cut_and_can_be_had(makes: Site) -> None:
    """What is shown is its beginning; the file is all of it."""
    job = ended(makes, {"words": "w", "long": 500_000})
    browser = visit(makes)
    page = browser.get(f"/page/jobs/{job}")
    assert "This is the beginning of it" in page.text
    assert len(page.text) < 100_000
    whole = browser.get(f"/page/jobs/{job}/result")
    assert whole.headers["content-disposition"].startswith("attachment")
    assert json.loads(whole.text)["result"] == {"w": ["w", "x" * 500_000]}
    failed = ended(makes, {"words": "w", "fail": True})
    is_page(browser.get(f"/page/jobs/{failed}/result"), 400)


def test_what_there_is_not_is_a_page_and_for_programs_json(site: Site) -> None:
    """Below /page people ask, elsewhere programs do."""
    browser = visit(site)
    page = is_page(browser.get("/page/nothing"), 404)
    assert "there is nothing at" in page.text
    is_page(browser.client.put("/page/jobs"), 405)
    assert browser.get("/nothing").headers["content-type"] == "application/json"
    assert browser.get("/pages").headers["content-type"] == "application/json"


def test_files_are_kept_for_good_by_their_content(site: Site) -> None:
    """What is at an address never changes; an address of other content is none."""
    browser = visit(site)
    page = Elements(browser.get("/").text)
    addresses = [one["src"] for one in page.of("script")]
    addresses += [one["href"] for one in page.of("link")]
    assert len(addresses) == 8
    for address in addresses:
        sent = browser.get(address)
        assert sent.status_code == 200, address
        assert sent.headers["cache-control"] == "public, max-age=31536000, immutable"
    for wrong in (addresses[0].replace("/static/", "/static/0"), "/page/static/x/../../page.py"):
        assert browser.get(wrong).status_code == 404
