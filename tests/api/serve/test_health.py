"""The three addresses of a process without an HTTP API, and those who would keep them busy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import WritePlugin
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.body import Upkeep
from toolrunner.api.serve.health import MOST_HEAD_BYTES, MOST_HEARD, Health
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings


class Site:
    """One process, of which this host alone may ask at ``private``, and anybody at ``public``."""

    def __init__(self, state: Path, plugin: Path, stack: ExitStack) -> None:
        settings = Settings.load(state=state)
        self.backend = stack.enter_context(Backend(settings, plugin_paths=[str(plugin)]))
        self.draining = threading.Event()
        upkeep = Upkeep(self.backend, Metrics(Tables(1)), None, lambda: settings)
        self.ports = {}
        for name in ("private", "public"):
            listener = socket.create_server(("127.0.0.1", 0))
            self.ports[name] = listener.getsockname()[1]
            health = Health(listener, upkeep, self.draining.is_set, is_private=name == "private")
            stack.callback(health.close)

    def get(self, where: str, path: str, host: str = "127.0.0.1") -> httpx.Response:
        """Ask."""
        return httpx.get(f"http://127.0.0.1:{self.ports[where]}{path}", headers={"Host": host})


@pytest.fixture
def site(tmp_path: Path, write_plugin: WritePlugin) -> Iterator[Site]:
    """One of them."""
    plugin = write_plugin("def run(payload): return {}")
    with ExitStack() as stack:
        yield Site(tmp_path / "state", plugin, stack)


def test_it_tells_who_it_is_asked_by(site: Site) -> None:
    """Names of plugins are for this host alone; there, no name of another site points to it."""
    assert site.backend.plugins.suspend("sample")
    [words] = site.get("private", "/readyz").json()["warnings"]
    assert words.startswith("sample is suspended")
    [words] = site.get("public", "/readyz", "worker.example").json()["warnings"]
    assert words == "plugins that are suspended: 1; the log has which"
    assert site.get("private", "/metrics", "worker.example").status_code == 403
    assert site.get("private", "/metrics", "localhost:80").status_code == 200
    for path in ("/", "/v1/plugins", "/readyz/", "/metrics%2f"):
        assert site.get("public", path).status_code == 404
    address = f"http://127.0.0.1:{site.ports['public']}/healthz?now"
    posted = httpx.post(address)
    assert (posted.status_code, posted.json()) == (501, {"error": "only GET and HEAD"})
    head = httpx.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert "python" not in str(head.headers).lower()
    site.draining.set()
    answer = site.get("private", "/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["draining"])
    assert site.get("private", "/healthz").status_code == 200


def test_those_who_say_nothing_give_way(site: Site) -> None:
    """However many they are, the prober is heard; too long a head ends before it is read."""
    address = ("127.0.0.1", site.ports["public"])
    with ExitStack() as stack:
        idle = [
            stack.enter_context(closing(socket.create_connection(address)))
            for _ in range(3 * MOST_HEARD)
        ]
        for one in idle[:MOST_HEARD]:
            one.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert site.get("public", "/healthz").json() == {"status": "ok"}
        assert idle[0].recv(1) == b""  # it was the oldest
        long = stack.enter_context(closing(socket.create_connection(address)))
        long.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MOST_HEAD_BYTES + b"\r\n\r\n")
        try:
            answer = long.recv(1)
        except ConnectionResetError:
            answer = b""
        assert answer == b""
        assert idle[-1].recv(1) == b""  # its time is over
