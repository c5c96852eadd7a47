"""A tab of the browser, in which whatever the browser complains of fails the test."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import ConsoleMessage, Dialog, Page, Request, expect

from tests.clients_environment import ENVIRONMENT, missing_environment

PATIENCE_MS = 120_000
# What the page is made for: a telephone and a desk.
NARROW, WIDE = 400, 1600
_HEIGHT = 900
_LOOKS: tuple[tuple[int, Literal["light", "dark"], bool], ...] = (
    (WIDE, "light", True),
    (WIDE, "dark", False),
    (NARROW, "light", False),
    (NARROW, "dark", True),
)
# What a person with a screen reader or a keyboard cannot get past.
GRAVE = {"serious", "critical"}
# One that the page has given up itself, by going elsewhere, is nobody's fault.
_GIVEN_UP = "net::ERR_ABORTED"

expect.set_options(timeout=PATIENCE_MS)


@functools.cache
def _axe() -> str:
    problem = missing_environment()
    if problem:
        pytest.fail(problem, pytrace=False)
    return (ENVIRONMENT / "npm/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


class Watched:
    """A tab that shows pages of one server alone."""

    def __init__(self, page: Page, address: str, pictures: Path | None) -> None:
        """``pictures``: where to leave some of what tests have looked at, if anywhere."""
        self.page = page
        self._pictures = pictures
        self.address = address
        self.complaints: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complain(f"script: {error}"))
        page.on("dialog", self._asked_a_person)
        page.on("request", self._requested)
        page.on("requestfailed", self._failed)

    def open(self, path: str) -> Watched:
        """Go to a place of the server; return this, once all of it has been loaded."""
        self.page.goto(self.address + path)
        return self

    @contextmanager
    def expecting(self, pattern: str) -> Iterator[None]:
        """Allow complaints that a pattern fits, in this block: of what a test does on purpose."""
        self._expected.append(re.compile(pattern))
        yield
        self._expected.pop()

    def check(self) -> None:
        """Fail if the browser has complained of anything."""
        if self.complaints:
            pytest.fail("the browser complains:\n" + "\n".join(self.complaints))

    def look(self, name: str = "") -> None:
        """Check what is shown now at each width, and in each scheme; leave pictures by a name.

        That nothing sticks out, and that axe-core finds nothing grave. What it finds depends on a
        width or on a scheme, never on both.
        """
        for width, scheme, is_checked in _LOOKS:
            picture = self._pictures / f"{name}-{width}-{scheme}.png" if self._pictures else None
            if not is_checked and picture is None:
                continue
            self.page.set_viewport_size({"width": width, "height": _HEIGHT})
            self.page.emulate_media(color_scheme=scheme)
            if is_checked:
                self.check_fits()
                self.check_accessible()
            if picture is not None and name:
                self.page.screenshot(path=picture, full_page=True)
        self.page.set_viewport_size({"width": WIDE, "height": _HEIGHT})
        self.page.emulate_media(color_scheme="light")

    def keep_picture(self, name: str) -> None:
        """Leave one picture of what is at the top now, as small a file as documents want."""
        if self._pictures is not None:
            self.page.set_viewport_size({"width": 1280, "height": 1000})
            path = self._pictures / f"{name}.jpg"
            self.page.screenshot(path=path, type="jpeg", quality=70)

    def check_accessible(self) -> None:
        """Fail if axe-core finds anything grave in what is shown now."""
        # Not by a script element, which the page's policy would refuse.
        self.page.evaluate(_axe())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        grave = _told(found["violations"])
        if grave:
            pytest.fail("axe-core finds:\n" + "\n".join(grave))

    def check_fits(self) -> None:
        """Fail if what is shown can be scrolled sideways, and say which elements stick out."""
        sticking_out = self.page.evaluate(_STICKING_OUT)
        width = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if width[0] > width[1]:
            pytest.fail(f"{width[0]} pixels in {width[1]}:\n" + "\n".join(sticking_out))

    def text(self) -> str:
        """Return all that a person can read."""
        return self.page.locator("body").inner_text()

    def _complain(self, words: str) -> None:
        if not any(pattern.search(words) for pattern in self._expected):
            self.complaints.append(words)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complain(f"console: {message.text} ({message.location['url']})")

    def _asked_a_person(self, dialog: Dialog) -> None:
        if dialog.type in {"confirm", "beforeunload"}:  # before something that cannot be undone
            dialog.accept()
        else:
            self._complain(f"a script ran: {dialog.type} {dialog.message}")
            dialog.dismiss()

    def _requested(self, request: Request) -> None:
        url = request.url
        if not url.startswith((f"{self.address}/", "data:", f"blob:{self.address}/")):
            self._complain(f"asked elsewhere: {url}")

    def _failed(self, request: Request) -> None:
        if request.failure != _GIVEN_UP:
            self._complain(f"failed: {request.url}: {request.failure}")


_STICKING_OUT = """
[...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth)
  .map((one) => one.outerHTML.slice(0, 120))
  .slice(0, 5)
"""


def _told(violations: list[dict[str, Any]]) -> list[str]:
    """Return what is grave of axe-core's findings, each with the elements that it is about."""
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: "
        + "; ".join(f"{node['target']} {node['failureSummary']}" for node in one["nodes"][:3])
        for one in violations
        if one["impact"] in GRAVE
    ]
