"""Jobs on the page: found, followed to what they made, cancelled, without a page loaded anew."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.api.page.browser.conftest import Site, Visit


def test_a_job_is_followed_to_its_picture(open_site: Site, visit: Visit) -> None:
    """From when it waits: it appears in the list, begins when it may, and brings a picture."""
    tab = visit(open_site, "/page/jobs")
    page = tab.page
    expect(page.locator("main")).to_contain_text("There is no such job.")
    tab.look("jobs-none")
    with open_site.client() as client:
        client.post("/v1/plugins/pictures/suspend").raise_for_status()
        body = {"plugin": "pictures", "payload": {"colour": "teal", "steps": 2}}
        job = client.post("/v1/jobs", json=body).json()["id"]
        page.get_by_role("link", name=job[:8]).click()
        expect(page.locator(".mark.pending").first).to_be_visible()
        page.evaluate("document.body.dataset.same = 'yes'")
        client.post("/v1/plugins/pictures/resume").raise_for_status()
    expect(page.locator(".mark.success").first).to_be_visible()
    expect(page.locator(".events")).to_contain_text("step 2 of 2")
    made = page.get_by_role("img", name="Artifact")
    made.scroll_into_view_if_needed()
    expect(made).to_have_js_property("naturalWidth", 160)
    expect(page.locator("body")).to_have_attribute("data-same", "yes")
    tab.look("job")
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("link", name=job[:8])).to_be_visible()
    tab.look("jobs")


def test_a_job_is_cancelled_and_one_that_failed_says_why(open_site: Site, visit: Visit) -> None:
    """What runs is killed at a click; what failed shows its envelope, and can be run again."""
    with open_site.client() as client:
        waits = {"plugin": "moody", "payload": {"wait": True}}
        job = client.post("/v1/jobs", json=waits).json()["id"]
        tab = visit(open_site, f"/page/jobs/{job}")
        page = tab.page
        expect(page.locator(".heading .mark.running")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".heading .mark.cancelled")).to_be_visible()
        assert client.get(f"/v1/jobs/{job}").json()["status"] == "CANCELLED"
        fails = {"plugin": "moody", "payload": {"fail": "crash"}}
        failed = client.post("/v1/jobs", json=fails).json()["id"]
    tab.open(f"/page/jobs/{failed}")
    expect(page.get_by_role("heading", name="PluginCrashed")).to_be_visible()
    page.get_by_text("The envelope").click()
    tab.look("job-failed")
    page.get_by_label("Main").or_(page.get_by_role("link", name="Jobs", exact=True)).first.click()
    page.get_by_label("Status").select_option(label="failed")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name=failed[:8])).to_be_visible()
    expect(page.get_by_role("link", name=job[:8])).to_have_count(0)
