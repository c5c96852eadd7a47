"""The page behind a real server, and browsers without scripts that have signed in to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tests.api.http.conftest import (
    PATIENCE_SECONDS,
    MakeSite,
    Site,
    kept,
    make_site,
    site,
)
from toolrunner.api.key import Role

__all__ = ["kept", "make_site", "site"]  # fixtures

_CONFIRMATION = re.compile(r'<meta name="confirmation" content="([0-9a-f]{64})">')


@dataclass
class Visit:
    """A browser: it keeps cookies, follows redirections, and says where its forms come from."""

    client: httpx.Client
    confirmation: str = ""

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Look at a page."""
        return self.client.get(path, headers={"Sec-Fetch-Site": "same-origin", **headers})

    def post(self, path: str, headers: Any = None, **form: str) -> httpx.Response:
        """Send a form, of a page of the server unless ``headers`` say otherwise."""
        sent = {"Sec-Fetch-Site": "same-origin"} if headers is None else headers
        return self.client.post(path, data=form, headers=sent)

    def confirmed(self, path: str, **form: str) -> httpx.Response:
        """Send a form as the page has it."""
        return self.post(path, confirmation=self.confirmation, **form)


def visit(at: Site, key: str = "") -> Visit:
    """Return a browser that has signed in with a key, or has come without one."""
    url = f"http://127.0.0.1:{at.address[1]}"
    client = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, follow_redirects=True)
    at.stack.enter_context(client)
    made = Visit(client)
    if key:
        signed = made.post("/page/login", key=key, next="/page/plugins")
        assert signed.status_code == 200, signed.text
    page = made.get("/page/plugins").text
    if found := _CONFIRMATION.search(page):
        made.confirmation = found[1]
    return made


SignIn = Callable[..., Visit]


@pytest.fixture
def closed(make_site: MakeSite) -> Site:
    """A server that wants keys, and keeps figures."""
    return make_site(keys=True, figures=True)


@pytest.fixture
def sign_in(closed: Site) -> SignIn:
    """Return a function that makes a key of a name, and signs a new browser in with it."""

    def make(name: str, **given: Any) -> Visit:
        assert closed.doors.keys is not None
        return visit(closed, closed.doors.keys.create(name, **given)[1])

    return make


@pytest.fixture
def operator(sign_in: SignIn) -> Visit:
    """The operator's browser."""
    return sign_in("ops", role=Role.OPERATOR)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one."""
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Take note of what is read."""
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of each of a kind."""
        return [attributes for name, attributes in self.found if name == tag]


def is_page(response: httpx.Response, status: int) -> Elements:
    """Assert that a response is a page by the rules that all of them keep; return what is on it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"
    page = Elements(response.text)
    for tag, attributes in page.found:
        assert tag not in {"style", "iframe", "object", "embed", "base"}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    for script in page.of("script"):
        assert script["src"].startswith("/page/static/")
    return page
