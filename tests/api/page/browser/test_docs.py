"""The page of the OpenAPI document: it shows all of it, and what is tried out there works."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.api.http.test_openapi import OPERATIONS
from tests.api.page.browser.conftest import Site, Visit
from tests.api.page.browser.watched import Watched


def opened(tab: Watched, words: str) -> Locator:
    """Return the block of an operation, opened and ready to be tried out."""
    method, path = words.split()
    shown = tab.page.locator(f".opblock-{method.lower()}")
    block = shown.filter(has=tab.page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def tried(block: Locator) -> tuple[str, str]:
    """Send what a block asks for; return the status and the body that it shows then."""
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table tbody tr").first
    status = answer.locator(".response-col_status").inner_text()
    return status.split()[0], answer.locator(".response-col_description").inner_text()


def test_every_operation_is_shown_and_an_example_works(open_site: Site, visit: Visit) -> None:
    """By its method, path and summary; and the picture that it shows is analyzed."""
    tab = visit(open_site, "/docs")
    expect(tab.page.locator(".opblock")).to_have_count(len(OPERATIONS))
    with open_site.client() as client:
        document = client.get("/openapi.json").json()
    for words in OPERATIONS:
        method, path = words.split()
        shown = tab.page.locator(f".opblock-{method.lower()}", has_text=path)
        summary = document["paths"][path][method.lower()]["summary"]
        assert summary in shown.locator(".opblock-summary-description").all_inner_texts()
    block = opened(tab, "POST /v1/analyze")
    status, body = tried(block)
    assert status == "200", body
    assert '"result"' in body
    tab.look("docs")
    tab.page.get_by_role("link", name="Plugins", exact=True).click()
    expect(tab.page.get_by_role("link", name="barcode", exact=True)).to_be_visible()


def test_a_key_that_is_typed_in_goes_along_and_is_not_kept(closed_site: Site, visit: Visit) -> None:
    """Without it what is tried out is refused, as it is once more after a reload."""
    tab = visit(closed_site, "/docs")
    expect(tab.page.get_by_role("link", name="Sign in")).to_be_visible()
    block = opened(tab, "GET /v1/plugins")
    with tab.expecting("status of 401"):
        assert tried(block)[0] == "401"
    tab.page.locator("button.authorize").first.click()
    form = tab.page.locator(".auth-container", has_text="bearer")
    form.locator("input").fill(closed_site.keys["shop"])
    form.locator("button.authorize").click()
    form.get_by_role("button", name="Close").click()
    block.get_by_role("button", name="Clear").click()
    status, body = tried(block)
    assert status == "200"
    assert "barcode" in body
    kept = tab.page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie]")
    assert kept == [{}, {}, ""]


def test_no_link_makes_it_show_another_document(open_site: Site) -> None:
    """Which would ask for a key, and send it elsewhere."""
    with open_site.client() as client:
        for name in ("url", "configUrl", "spec"):
            answer = client.get("/docs", params={name: "//example.org/x.json"})
            assert answer.status_code == 400
