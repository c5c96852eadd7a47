"""The report of attacks on the page: none yet, and one of every outcome."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.api.page.browser.conftest import MakeSite, Visit
from tests.api.test_attack_report import Case
from toolrunner.api.attack_report import keep


def test_a_report_is_shown_at_every_width(
    site_maker: MakeSite, tmp_path: Path, visit: Visit
) -> None:
    """How to make one, and then what got through before what did not."""
    tmp_path.chmod(0o755)
    state = tmp_path / "state"
    site = site_maker(TOOLRUNNER_STATE=str(state))
    tab = visit(site, "/page/attacks")
    expect(tab.page.locator("main")).to_contain_text("Nobody has made a report here yet")
    tab.look("attacks-none")
    cases = [Case(f"attack_{number}") for number in range(20)]
    keep(state, [*cases, Case("spy", "escaped", "", "read /etc/shadow " * 8)])
    tab.open("/page/attacks")
    expect(tab.page.locator("table.attacks tbody th").first).to_have_text("spy")
    tab.look("attacks")
