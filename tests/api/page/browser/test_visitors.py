"""Who may see the page: signing in and out, a caller's own, keyboards alone, other sites."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.api.page.browser.conftest import Site, Visit
from tests.api.page.browser.watched import Watched

COOKIE = "toolrunner_session"


def sign_in(tab: Watched, token: str) -> None:
    """Sign in, wherever this leads."""
    tab.page.get_by_label("Key").fill(token)
    tab.page.get_by_role("button", name="Sign in").click()


def session_of(page: Page) -> str:
    """Return the session that the browser sends along; "" if none."""
    return "".join(
        one.get("value", "") for one in page.context.cookies() if one.get("name") == COOKIE
    )


def test_an_operator_signs_in_and_out(closed_site: Site, visit: Visit) -> None:
    """What was asked for comes after signing in; a session that somebody else has set is none."""
    tab = visit(closed_site, "/page/plugins")
    page = tab.page
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    tab.look("sign-in")
    with tab.expecting("status of 401"):
        sign_in(tab, "tr_00000000_" + 43 * "x")
        expect(page.get_by_role("alert")).to_contain_text("unknown or has been revoked")
    page.context.add_cookies([{"name": COOKIE, "value": "planted", "url": closed_site.address}])
    tab.open("/page/plugins")
    sign_in(tab, closed_site.keys["operator"])
    expect(page.get_by_role("heading", name="Plugins")).to_be_visible()
    [cookie] = [one for one in page.context.cookies() if one.get("name") == COOKIE]
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    session = cookie.get("value", "")
    assert session not in {"", "planted"}
    assert page.evaluate("document.cookie") == ""
    beside = visit(closed_site, "/", beside=tab)
    expect(beside.page.locator(".who")).to_contain_text("operator")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    # The other tab hears of it by its own stream.
    expect(beside.page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.context.add_cookies([{"name": COOKIE, "value": session, "url": closed_site.address}])
    tab.open("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_callers_key_shows_its_own_alone(closed_site: Site, visit: Visit) -> None:
    """Its jobs and plugins, without what is the operator's to see or to do."""
    with closed_site.client("operator") as client:
        body = {"plugin": "text-stats", "payload": {"text": "a"}}
        others = client.post("/v1/jobs", json=body).json()["id"]
    with closed_site.client("shop") as client:
        own = client.post("/v1/jobs", json=body).json()["id"]
    tab = visit(closed_site, "/page/jobs")
    sign_in(tab, closed_site.keys["shop"])
    expect(tab.page.get_by_role("link", name=own[:8])).to_be_visible()
    expect(tab.page.get_by_role("link", name=others[:8])).to_have_count(0)
    tab.look("jobs-of-a-caller")
    tab.open("/page/plugins/moody")
    expect(tab.page.get_by_role("button", name="Run")).to_be_visible()
    expect(tab.page.get_by_role("button", name="Suspend")).to_have_count(0)
    with tab.expecting("status of 40[34]"):
        tab.open("/")
        expect(tab.page.get_by_role("alert")).to_contain_text("operator")
        tab.look("refused")
        tab.open(f"/page/jobs/{others}")
        expect(tab.page.get_by_role("alert")).to_be_visible()


def test_a_keyboard_is_enough(closed_site: Site, visit: Visit) -> None:
    """To sign in, to skip what is at the head of each page, to find a plugin and to try it."""
    tab = visit(closed_site, "/page/plugins")
    keys = tab.page.keyboard
    expect(tab.page.get_by_label("Key")).to_be_focused()
    keys.type(closed_site.keys["operator"])
    keys.press("Enter")
    expect(tab.page.get_by_role("heading", name="Plugins")).to_be_visible()
    keys.press("Tab")
    expect(tab.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keys.press("Enter")
    tab_to(tab.page, "text-stats")
    keys.press("Enter")
    expect(tab.page.get_by_role("heading", name="Try it")).to_be_visible()
    tab_to(tab.page, "Run")
    keys.press("Enter")
    expect(tab.page.get_by_label("Result", exact=True)).to_contain_text('"words"')


def tab_to(page: Page, words: str) -> None:
    """Press Tab until what says so has the focus, which then can be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == words:
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{words}: nobody sees where the focus is"
            return
    raise AssertionError(f"no Tab leads to {words!r}")


@contextmanager
def other_site(text: str) -> Iterator[str]:
    """Serve a page of another origin; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site_can_do_nothing(closed_site: Site, visit: Visit) -> None:
    """It can neither frame the page of who is signed in, nor have the browser send its forms."""
    tab = visit(closed_site, "/")
    sign_in(tab, closed_site.keys["operator"])
    expect(tab.page.locator("[data-live-state]")).to_have_text("live")
    action = f"{closed_site.address}/page/plugins/moody/suspend"
    text = f"""<!doctype html><title>other</title><iframe src="{closed_site.address}/"></iframe>
    <iframe src="{closed_site.address}/docs"></iframe>
    <form method="post" action="{action}"><button>Win a prize</button></form>"""
    with (
        other_site(text) as address,
        tab.expecting("frame|BLOCKED_BY_RESPONSE|asked elsewhere|status of 40[134]"),
    ):
        tab.page.goto(address)
        for frame in tab.page.frames[1:]:
            assert "Toolrunner" not in frame.content()
        tab.page.get_by_role("button", name="Win a prize").click()
        expect(tab.page.locator("body")).not_to_contain_text("Win a prize")
    with closed_site.client("operator") as client:
        assert client.get("/v1/plugins/moody").json()["suspended_by"] == ""
