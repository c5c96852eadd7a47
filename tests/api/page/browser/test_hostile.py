"""Whatever a plugin says of itself, returns or makes is text: in no view does any of it run."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.api.page.browser.conftest import PLUGINS, MakeSite, Site, Visit

SCRIPT = "<script>alert("


@pytest.fixture(scope="module")
def hostile_site(site_maker: MakeSite, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A server with plugins of which one cannot be read and has a file name that is a script."""
    folder: Path = tmp_path_factory.mktemp("broken")
    folder.chmod(0o755)
    name = "<img src=x onerror=alert('file')>.py"
    (folder / name).write_text(
        '# /// script\n# [tool.toolrunner]\n# name = "<b onclick=alert(1)>"\n# ///\n'
    )
    return site_maker(plugins=(PLUGINS, folder))


def test_nothing_of_a_plugin_runs(hostile_site: Site, visit: Visit) -> None:
    """In its page, tried, failed; as a job with what it made; and among all others."""
    with hostile_site.client() as client:
        ids = []
        for payload in ({}, {"fail": True}):
            made = client.post("/v1/jobs", json={"plugin": "hostile", "payload": payload})
            ids.append(made.json()["id"])
            client.post("/v1/analyze", json={"plugin": "hostile", "payload": payload})
    tab = visit(hostile_site, "/page/plugins/hostile")
    page = tab.page
    expect(page.locator("main")).to_contain_text(f"{SCRIPT}'description')")
    expect(page.locator("main")).to_contain_text(f"{SCRIPT}'version')")
    expect(page.locator("details.failure").first).to_contain_text(f"{SCRIPT}'error')")
    page.get_by_label("Payload").fill("{}")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Result", exact=True)).to_contain_text(f"{SCRIPT}'value')")
    tab.look("hostile-tried")
    page.get_by_label("Payload").fill('{"fail": true}')
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text(f"{SCRIPT}'error')")

    for job, words in zip(ids, ("value", "error"), strict=True):
        tab.open(f"/page/jobs/{job}")
        expect(page.locator("main")).to_contain_text(f"{SCRIPT}'{words}')")
        expect(page.locator(".events")).to_contain_text(f"{SCRIPT}'progress')")
        tab.look("hostile-job")
    for path in ("/", "/page/plugins", "/page/jobs", "/page/jobs?plugin=<script>alert(1)</script>"):
        tab.open(path)
        expect(page.get_by_role("main")).to_be_visible()
    tab.open("/page/plugins")
    expect(page.locator("main")).to_contain_text("onerror")
    assert page.evaluate("({}).polluted") is None


@pytest.mark.parametrize("name", ["picture.svg", "page.html", "lies.png", "script.js"])
def test_an_artifact_that_is_opened_by_itself_does_nothing(
    hostile_site: Site, visit: Visit, name: str
) -> None:
    """It is kept as a file or shown without scripts, by the page and by the API alike."""
    with hostile_site.client() as client:
        body = {"plugin": "hostile", "payload": {}}
        job = client.post("/v1/jobs", json=body).json()["id"]
        tab = visit(hostile_site, f"/page/jobs/{job}")
        expect(tab.page.get_by_role("link", name=name).last).to_be_visible()
        for place in ("page", "v1"):
            answer = client.get(f"/{place}/jobs/{job}/artifacts/{name}")
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "sandbox" in policy.split("; ")
            assert "default-src 'none'" in policy
            assert answer.headers["content-disposition"].startswith("attachment")
