"""The report of attacks on the page: none yet, and one of every outcome."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.api.page.browser.conftest import MakeSite, Visit
from tests.api.test_attack_report import Case
from toolrunner.api.attack_report import keep


def test_a_report_is_shown_at_every_width(site_maker: MakeSite, visit: Visit) -> None:
    """How to make one, and then what got through before what did not."""
    site = site_maker()
    tab = visit(site, "/page/attacks")
    expect(tab.page.locator("main")).to_contain_text("Nobody has made a report here yet")
    tab.look("attacks-none")
    cases = [Case(f"attack_{number}") for number in range(20)]
    keep(site.state, [*cases, Case("spy", "escaped", "", "read /etc/shadow " * 8)])
    tab.open("/page/attacks")
    expect(tab.page.locator("table.attacks tbody th").first).to_have_text("spy")
    tab.look("attacks")
