"""``/page/attacks``: the last report of this host, or how to make one."""

from __future__ import annotations

import html

from tests.api.http.conftest import MakeSite
from tests.api.page.test_plugin_page import signed_in
from tests.api.test_attack_report import Case
from toolrunner.api.attack_report import FILE, keep
from toolrunner.api.keys import Role


def test_the_last_report_is_shown(make_site: MakeSite) -> None:
    """Text as text; without one, the command that makes one."""
    site = make_site()
    page = site.client.get("/page/attacks")
    assert "Nobody has made a report here yet" in page.text
    command = f"toolrunner doctor --attack --state {site.folder}"
    assert command in html.unescape(page.text)
    keep(site.folder, [Case("fork_bomb"), Case("spy", "escaped", "", "<script>x</script>")])
    page = site.client.get("/page/attacks")
    assert page.text.index("spy") < page.text.index("fork_bomb")
    assert html.escape("<script>x</script>") in page.text
    assert "another version" not in page.text
    (site.folder / FILE).write_bytes(b"{}")
    assert "cannot be read: make a new one" in site.client.get("/page/attacks").text


def test_it_is_the_operators(make_site: MakeSite) -> None:
    """A caller does not even get the link."""
    site = make_site(keys=True)
    caller = signed_in(site, "shop")
    assert caller.get("/page/attacks").status_code == 403
    assert "/page/attacks" not in caller.get("/page/plugins").text
    assert signed_in(site, "ops", role=Role.OPERATOR).get("/page/attacks").status_code == 200
