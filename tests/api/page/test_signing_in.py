"""Signing in: what the cookie is, what it opens, and when it ends."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import httpx
import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.page.conftest import SignIn, Visit, is_page, visit
from toolrunner.api.key import Role
from toolrunner.api.session import IDLE_SECONDS, MOST_OF_A_KEY, MOST_SECONDS
from toolrunner.api.sessions import FILE, SessionStore

COOKIE = "toolrunner_session"


def cookie_of(browser: Visit) -> str:
    """Return the token that a browser has."""
    return str(browser.client.cookies[COOKIE])


def asked_with(site: Site, cookie: str, path: str = "/page/plugins") -> httpx.Response:
    """Ask for a page with a cookie, and follow nothing."""
    address = f"http://127.0.0.1:{site.address[1]}{path}"
    return httpx.get(address, headers={"Cookie": f"{COOKIE}={cookie}"}, timeout=60)


def test_who_has_not_signed_in_is_led_there(closed: Site) -> None:
    """And back, to pages of this server alone."""
    browser = visit(closed)
    login = browser.get("/page/jobs?status=FAILED")
    assert login.url.path == "/page/login"
    page = is_page(login, 200)
    assert {"type": "hidden", "name": "next", "value": "/page/jobs?status=FAILED"} in page.of(
        "input"
    )
    for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "/v1/jobs", "x"):
        page = is_page(browser.get(f"/page/login?next={elsewhere}"), 200)
        assert {"type": "hidden", "name": "next", "value": "/"} in page.of("input"), elsewhere


def test_a_link_on_another_site_finds_who_has_signed_in(operator: Visit) -> None:
    """Its browser keeps the cookie back: the page is asked for once more, by one of our own."""
    cookies, operator.client.cookies = operator.client.cookies, httpx.Cookies()
    page = is_page(operator.get("/page/jobs", **{"Sec-Fetch-Site": "cross-site"}), 200)
    assert page.of("meta")[-1] == {"http-equiv": "refresh", "content": "0; url=/page/jobs"}
    operator.client.cookies = cookies
    assert "Jobs" in is_page(operator.get("/page/jobs"), 200).text


def test_the_cookie_is_for_this_server_and_no_script(closed: Site) -> None:
    """Over TLS it is of a name that a browser takes from nobody else."""
    assert closed.doors.keys is not None
    _, key = closed.doors.keys.create("ops", role=Role.OPERATOR)
    browser = visit(closed)
    browser.client.follow_redirects = False
    given = browser.post("/page/login", key=key).headers["set-cookie"]
    name, *flags = given.split("; ")
    assert name.startswith(f"{COOKIE}=trs_")
    assert {flag.lower() for flag in flags} == {
        "httponly", "samesite=strict", "path=/", f"max-age={int(MOST_SECONDS)}",
    }  # fmt: skip


def test_who_signs_in_is_led_to_what_it_may_see(closed: Site) -> None:
    """The overview is the operator's; a caller comes to its plugins."""
    assert closed.doors.keys is not None
    for role, path in ((Role.OPERATOR, "/"), (Role.CALLER, "/page/plugins")):
        _, key = closed.doors.keys.create(role.value, role=role)
        browser = visit(closed)
        browser.client.follow_redirects = False
        assert browser.post("/page/login", key=key).headers["location"] == path
        answer = browser.post("/page/login", key=key, next="/page/jobs")
        assert answer.headers["location"] == "/page/jobs"


def test_the_cookie_behind_tls(make_site: MakeSite) -> None:
    """A trusted proxy says that it was; then it is Secure, and the plain one counts no more."""
    site = make_site(keys=True, trusted_proxies=["127.0.0.1"])
    assert site.doors.keys is not None
    _, key = site.doors.keys.create("ops", role=Role.OPERATOR)
    browser = visit(site)
    browser.client.follow_redirects = False
    headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"}
    given = browser.post("/page/login", headers, key=key).headers["set-cookie"]
    assert given.startswith(f"__Host-{COOKIE}=trs_")
    assert "; Secure" in given
    token = given.partition("=")[2].partition(";")[0]
    for name, status in {COOKIE: 303, f"__Host-{COOKIE}": 200}.items():
        asked = {"X-Forwarded-Proto": "https", "Cookie": f"{name}={token}"}
        assert browser.client.get("/page/plugins", headers=asked).status_code == status


def test_each_sign_in_is_a_new_session(closed: Site, sign_in: SignIn) -> None:
    """A token that somebody else has put there becomes nobody's."""
    browser = sign_in("ops", role=Role.OPERATOR)
    before = cookie_of(browser)
    assert closed.doors.keys is not None
    planted = f"trs_{'A' * 43}"
    _, key = closed.doors.keys.create("more", role=Role.OPERATOR)
    address = f"http://127.0.0.1:{closed.address[1]}/page/login"
    answer = httpx.post(address, data={"key": key}, headers={"Cookie": f"{COOKIE}={planted}"})
    assert answer.cookies[COOKIE] not in {planted, before}
    assert asked_with(closed, planted).status_code == 303
    assert asked_with(closed, answer.cookies[COOKIE]).status_code == 200


def test_signing_out_ends_it_everywhere(closed: Site, operator: Visit) -> None:
    """Also for who has a copy of the cookie."""
    copy = cookie_of(operator)
    assert asked_with(closed, copy).status_code == 200
    assert operator.confirmed("/page/logout").url.path == "/page/login"
    assert COOKIE not in operator.client.cookies
    assert asked_with(closed, copy).status_code == 303


def test_it_ends_with_its_key(closed: Site, operator: Visit) -> None:
    """A key that is revoked opens nothing any more."""
    assert closed.doors.keys is not None
    closed.doors.keys.revoke("ops")
    assert operator.get("/").url.path == "/page/login"


@pytest.mark.parametrize(("column", "seconds"), [("began", MOST_SECONDS), ("seen", IDLE_SECONDS)])
def test_it_ends_by_its_age(closed: Site, operator: Visit, column: str, seconds: float) -> None:
    """And when nobody has asked for anything; the next sign-in sweeps it away."""
    with closing(sqlite3.connect(closed.folder / FILE)) as file, file:
        file.execute(f"UPDATE sessions SET {column} = ?", (time.time() - seconds - 1,))
    assert asked_with(closed, cookie_of(operator)).status_code == 303
    assert closed.doors.sessions is not None
    closed.doors.sessions.begin("another")
    with closing(sqlite3.connect(closed.folder / FILE)) as file:
        assert [key for (key,) in file.execute("SELECT key FROM sessions")] == ["another"]


def test_who_asks_is_not_idle(closed: Site, operator: Visit) -> None:
    """Whatever is asked for begins the hour anew."""
    with closing(sqlite3.connect(closed.folder / FILE)) as file:
        with file:
            file.execute("UPDATE sessions SET seen = seen - ?", (IDLE_SECONDS - 100,))
        is_page(operator.get("/page/jobs"), 200)
        [(seen,)] = file.execute("SELECT seen FROM sessions")
    assert time.time() - seen < IDLE_SECONDS - 100


def test_a_key_has_so_many_sessions(closed: Site) -> None:
    """The one that began first ends for one too many; what is kept of each opens nothing."""
    with closing(SessionStore(closed.folder)) as sessions:
        tokens = [sessions.begin("k") for _ in range(MOST_OF_A_KEY + 1)]
        found = [sessions.found(token) for token in tokens]
        assert found == ["", *["k"] * MOST_OF_A_KEY]
        assert [sessions.found(wrong) for wrong in ("", "trs_", tokens[1] + "x", "\ud800")] == [
            ""
        ] * 4
    kept = b"".join(path.read_bytes() for path in closed.folder.glob(f"{FILE}*"))
    assert not [token for token in tokens if token.encode() in kept]


def test_the_cookie_is_nothing_to_the_api(closed: Site, operator: Visit) -> None:
    """So no page of another site can do there what its visitor may."""
    cookie = {"Cookie": f"{COOKIE}={cookie_of(operator)}"}
    for path in ("/v1/plugins", "/v1/jobs", "/metrics"):
        detail_of(closed.get(path, **cookie), 401, "Unauthorized")
    asked = {"plugin": "sample", "payload": {"n": 1}}
    detail_of(closed.post("/v1/analyze", asked, **cookie), 401, "Unauthorized")
    assert closed.executed == []


def test_keys_that_are_tried_are_counted_and_audited(make_site: MakeSite) -> None:
    """As requests without a key are; the right one is audited, too, and no key is in the log."""
    site = make_site(keys=True, keyless_per_minute=4)
    assert site.doors.keys is not None
    _, token = site.doors.keys.create("ops", role=Role.OPERATOR)
    browser = visit(site)
    tried = [browser.post("/page/login", key=f"tr_{n}") for n in range(4)]
    assert browser.post("/page/login", key=token).status_code == 429
    page = is_page(tried[0], 401)
    assert "unknown" in page.text
    assert tried[-1].status_code == 429
    assert "too many requests" in is_page(tried[-1], 429).text
    lines = [one for one in site.audited() if one["route"] == "POST /page/login"]
    assert [one["status"] for one in lines][:2] == [401, 401]
    assert {one.get("reason") for one in lines} >= {"unknown key", "keyless_per_minute"}
    assert token not in (site.folder / "audit.log").read_text()


def test_the_right_key_is_audited(closed: Site, operator: Visit) -> None:
    """By its name, as is who leaves."""
    operator.confirmed("/page/logout")
    spin(lambda: [one for one in closed.audited() if one["outcome"] == "signed out"])
    found = [(one["caller"], one["outcome"]) for one in closed.audited() if one["caller"]]
    assert found == [("ops", "signed in"), ("ops", "signed out")]


def test_without_keys_the_operator_is_who_asks_over_the_loopback(site: Site) -> None:
    """There is nothing to sign in with; another Host or another site's page is refused."""
    browser = visit(site)
    assert browser.get("/page/login").url.path == "/"
    assert "Overview" in is_page(browser.get("/"), 200).text
    is_page(browser.post("/page/login", key="x"), 404)
    refused = is_page(browser.get("/", Host="evil.example"), 403)
    assert "not known as" in refused.text
    is_page(browser.get("/", **{"Sec-Fetch-Site": "cross-site"}), 403)
