"""The app behind a real server on the loopback, with a real backend and real plugins.

The contract suite in ``tests/phase_12`` uses it too, where no HTTP client is installed: what it
needs, ``Site.post`` and ``Site.get``, takes none.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

import pytest
import uvicorn

from tests.conftest import WritePlugin
from toolrunner.api.audit import AuditLog
from toolrunner.api.http.app import create_app
from toolrunner.api.http.doors import Doors
from toolrunner.api.keys import KeyStore
from toolrunner.api.metrics.history import History
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.protocol import PatientProtocol
from toolrunner.api.sessions import SessionStore
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.settings.settings import Settings

OBEDIENT = """
    import os
    import time

    class InvalidInput(Exception):
        pass

    def run(payload, context):
        if "progress" in payload:
            context.progress(payload["progress"], "so far, in /etc/some/where")
        time.sleep(payload.get("seconds", 0))
        while payload.get("wait"):
            time.sleep(0.01)
        if payload.get("fail") == "invalid":
            raise InvalidInput("not that one")
        if payload.get("fail") == "bug":
            raise ValueError("in /srv/secret/place/file.py")
        if payload.get("fail") == "crash":
            os._exit(3)
        return {"got": payload.get("n")}
"""
LOOKS = """
    def run(payload):
        image = payload["image"]
        return {
            "size": len(image),
            "first": image[:4].hex(),
            "mime_type": payload["mime_type"],
            "options": payload.get("options"),
        }
"""
PATIENCE_SECONDS = 120.0
ASCII = string.punctuation  # may stand in a path as it is, here
if TYPE_CHECKING:
    import httpx


class AnyResponse(Protocol):
    """What a response of every client has."""

    @property
    def status_code(self) -> int:
        """200, or another."""

    @property
    def headers(self) -> Any:
        """By name, in any case."""

    @property
    def text(self) -> str:
        """The body."""

    def json(self) -> Any:
        """Return the document that the body is."""


@dataclass(frozen=True)
class Response:
    """What came back."""

    status_code: int
    headers: Message
    content: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.content.decode()

    def json(self) -> Any:
        """Return the document that the body is."""
        return json.loads(self.content)


@dataclass
class Site:
    """A server that runs, and clients of it."""

    doors: Doors
    address: tuple[str, int]
    stack: ExitStack
    folder: Path
    executed: list[Executed]
    draining: threading.Event = field(default_factory=threading.Event)

    @functools.cached_property
    def client(self) -> httpx.Client:
        """A client that can do everything, and keeps its connections."""
        import httpx

        url = f"http://127.0.0.1:{self.address[1]}"
        return self.stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_SECONDS))

    def post(self, path: str, body: object, **headers: str) -> Response:
        """Send JSON; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask("POST", path, content, {"Content-Type": "application/json", **headers})

    def get(self, path: str, **headers: str) -> Response:
        """Ask for something."""
        return self._ask("GET", path, None, headers)

    def _ask(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> Response:
        port = self.address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request(
                method, quote(path, safe=ASCII), content, {"Connection": "close", **headers}
            )
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API shows it."""
        document: dict[str, Any] = self.get(f"/v1/jobs/{job_id}").json()
        return document

    def ended(self, job_id: str) -> dict[str, Any]:
        """Return a job when it has ended."""
        spin(lambda: self.job(job_id)["ended_at"])
        return self.job(job_id)

    def audited(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log."""
        return [json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines()]


MakeSite = Callable[..., Site]


def spin(holds: Callable[[], Any]) -> None:
    """Wait until it holds."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 50)):
        if holds():
            return
        never.wait(0.02)
    pytest.fail("it never came so far")


@pytest.fixture
def kept() -> dict[str, Any]:
    """The settings that say where jobs are kept: in the state folder."""
    return {}


@pytest.fixture
def make_site(
    tmp_path: Path, write_plugin: WritePlugin, kept: dict[str, Any]
) -> Iterator[MakeSite]:
    """Return a function that starts a server.

    ``make_site(*paths, keys=False, jobs=True, figures=False, **settings)``; without paths there
    are the plugins ``sample``, which takes JSON and does as it is told, and ``looks``, which takes
    images.
    """
    with ExitStack() as stack:

        def make(
            *paths: Path,
            keys: bool = False,
            jobs: bool = True,
            figures: bool = False,
            **settings: Any,
        ) -> Site:
            plugins = paths or (
                write_plugin(OBEDIENT),
                write_plugin(LOOKS, name="looks", input="image"),
            )
            folder = tmp_path / "state"
            executed: list[Executed] = []
            metrics = Metrics(Tables(1), history=History()) if figures else None

            def observe(ended: Executed) -> None:
                executed.append(ended)
                if metrics is not None:
                    metrics.observe(ended)

            backend = stack.enter_context(
                Backend(
                    Settings.load(state=folder, **kept, **settings),
                    plugin_paths=[str(path) for path in plugins],
                    observer=observe,
                )
            )
            if jobs:
                backend.start()
            store = KeyStore(folder) if keys else None
            if store is not None:
                stack.callback(store.close)
            sessions = SessionStore(folder) if keys else None
            if sessions is not None:
                stack.callback(sessions.close)
            log = AuditLog(folder / "audit.log")
            stack.callback(log.close)
            draining = threading.Event()
            doors = Doors(
                backend,
                keys=store,
                audit=log,
                metrics=metrics,
                draining=draining.is_set,
                closing=draining.is_set,
                sessions=sessions,
            )
            stack.callback(doors.threads.close)
            config = uvicorn.Config(
                create_app(doors),
                port=0,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(backend.settings.trusted_proxies),
                forwarded_allow_ips=list(backend.settings.trusted_proxies),
                http=cast(
                    type[asyncio.Protocol],
                    partial(PatientProtocol, clients=doors.clients, probes={}),
                ),
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join, PATIENCE_SECONDS)
            stack.callback(setattr, server, "should_exit", True)
            spin(lambda: server.started)
            address = server.servers[0].sockets[0].getsockname()
            return Site(doors, address, stack, folder, executed, draining)

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A server with two plugins, and without keys."""
    return make_site()


def detail_of(response: AnyResponse, status: int, kind: str) -> dict[str, Any]:
    """Assert that a response is an error of the one shape; return what is in it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document.keys() == {"detail"}
    detail: dict[str, Any] = document["detail"]
    assert detail.keys() == {"type", "message", "details", "plugin", "timestamp"}
    assert detail["type"] == kind
    assert detail["message"]
    assert "log_tail" not in detail["details"]
    assert "_internal" not in response.text
    assert "Traceback" not in response.text
    return detail
