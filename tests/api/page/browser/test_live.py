"""Two tabs during a load: what happens arrives in both, and nothing is loaded anew for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import expect

from tests.api.page.browser.conftest import Site, Visit

CLIENTS, CALLS_EACH = 32, 5
_COUNT = """
(name) => {
  document.body.dataset.arrived = "0";
  document.addEventListener(`live:${name}`, () => {
    document.body.dataset.arrived = String(Number(document.body.dataset.arrived) + 1);
  });
}
"""


def call_again_and_again(site: Site) -> list[int]:
    """Make calls, one after the other; return their statuses."""
    body = {"plugin": "text-stats", "payload": {"text": "two words"}}
    with site.client() as client:
        return [client.post("/v1/analyze", json=body).status_code for _ in range(CALLS_EACH)]


def test_two_tabs_show_what_32_clients_do(open_site: Site, visit: Visit) -> None:
    """All of their calls are counted in both, by events of the streams that were opened before."""
    overview = visit(open_site, "/")
    plugin = visit(open_site, "/page/plugins/text-stats", beside=overview)
    for tab, name in ((overview, "standing"), (plugin, "figures")):
        tab.page.evaluate(_COUNT, name)
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = [
            one for each in pool.map(call_again_and_again, [open_site] * CLIENTS) for one in each
        ]
    assert statuses == [200] * CLIENTS * CALLS_EACH
    succeeded = plugin.page.locator(".tile", has_text="Succeeded").locator("dd")
    expect(succeeded).to_have_text(str(CLIENTS * CALLS_EACH))
    row = overview.page.locator("[data-live=plugins] tr", has_text="text-stats")
    expect(row).to_be_visible()
    expect(row.locator("td").nth(1)).not_to_have_text("0/s")
    for tab in (overview, plugin):
        expect(tab.page.locator("[data-live-state]")).to_have_text("live")
        expect(tab.page.locator("body")).not_to_have_attribute("data-arrived", "0")
    expect(overview.page.locator("[data-chart=rate] canvas")).to_be_visible()
    # Shadows stay at the edges, and what covers them goes along with the content.
    expect(overview.page.locator(".scroll").first).to_have_css(
        "background-attachment", "local, local, scroll, scroll"
    )
    overview.look("overview")
    overview.page.get_by_text("The same as a table").click()
    overview.look()
    overview.open("/page/plugins")
    overview.look("plugins")
