"""The page of a real server of several workers: what they share, and what outlives one of them."""

from __future__ import annotations

import json
import os
import signal
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

COUNTS = """
    def run(payload):
        return {}
"""


class Drawn(HTMLParser):
    """What the overview draws."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.data: dict[str, Any] = {}
        self.feed(html)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Find it."""
        if found := dict(attrs).get("data-charts"):
            self.data = json.loads(found)


def test_what_was_drawn_outlives_a_worker(serve: Serve, write_plugin: WritePlugin) -> None:
    """Calls of all workers are seen by each, also of one that has died since."""
    server = serve("--plugins", str(write_plugin(COUNTS)), "--workers", "2")
    address = server.ready()
    with httpx.Client(base_url=address, timeout=60) as client:

        def seen() -> float:
            drawn = Drawn(client.get("/").text).data
            return sum(map(float, drawn["rate"]))

        wait_until(lambda: bool(Drawn(client.get("/").text).data["at"]), "nothing is drawn")
        assert seen() == 0
        asked = {"plugin": "sample", "payload": {}}
        for _ in range(6):
            assert httpx.post(f"{address}/v1/analyze", json=asked, timeout=60).status_code == 200
        wait_until(lambda: seen() > 0, "the calls are not drawn")
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for("is replaced in")
        server.wait_for("is ready")
    with httpx.Client(base_url=address, timeout=60) as client:
        assert sum(map(float, Drawn(client.get("/").text).data["rate"])) > 0
        # A form of a page of one worker is taken by the other: what confirms it is the server's.
        page = client.get("/page/plugins").text
        confirmation = page.partition('name="confirmation" content="')[2][:64]
        for _ in range(8):
            form = {"confirmation": confirmation}
            fresh = httpx.post(f"{address}/page/jobs/none/cancel", data=form, timeout=60)
            assert fresh.status_code == 404, fresh.text
    assert server.end() == 0
