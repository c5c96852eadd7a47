"""The app behind a real server on the loopback, with a real backend and real plugins."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tests.conftest import WritePlugin
from toolrunner.api.audit import AuditLog
from toolrunner.api.http.app import create_app
from toolrunner.api.http.doors import Doors
from toolrunner.api.keys import KeyStore
from toolrunner.api.serve.protocol import PatientProtocol
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
PATIENCE_SECONDS = 30.0


@dataclass
class Site:
    """A server that runs, and a client of it."""

    doors: Doors
    address: tuple[str, int]
    client: httpx.Client
    folder: Path
    executed: list[Executed]
    draining: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """Send JSON; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **headers}
        return self.client.post(path, content=content, headers=given)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask for something."""
        return self.client.get(path, headers=headers)

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
def make_site(tmp_path: Path, write_plugin: WritePlugin) -> Iterator[MakeSite]:
    """Return a function that starts a server.

    ``make_site(*paths, keys=False, jobs=True, **settings)``; without paths there are the plugins
    ``sample``, which takes JSON and does as it is told, and ``looks``, which takes images.
    """
    with ExitStack() as stack:

        def make(*paths: Path, keys: bool = False, jobs: bool = True, **settings: Any) -> Site:
            plugins = paths or (
                write_plugin(OBEDIENT),
                write_plugin(LOOKS, name="looks", input="image"),
            )
            folder = tmp_path / "state"
            executed: list[Executed] = []
            backend = stack.enter_context(
                Backend(
                    Settings.load(state=folder, **settings),
                    plugin_paths=[str(path) for path in plugins],
                    observer=executed.append,
                )
            )
            if jobs:
                backend.start()
            store = KeyStore(folder) if keys else None
            if store is not None:
                stack.callback(store.close)
            log = AuditLog(folder / "audit.log")
            stack.callback(log.close)
            draining = threading.Event()
            doors = Doors(backend, keys=store, audit=log, draining=draining.is_set)
            stack.callback(doors.threads.close)
            config = uvicorn.Config(
                create_app(doors),
                port=0,
                log_config=None,
                access_log=False,
                server_header=False,
                http=PatientProtocol,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join, PATIENCE_SECONDS)
            stack.callback(setattr, server, "should_exit", True)
            spin(lambda: server.started)
            address = server.servers[0].sockets[0].getsockname()
            client = stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=PATIENCE_SECONDS)
            )
            return Site(doors, address, client, folder, executed, draining)

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A server with two plugins, and without keys."""
    return make_site()


def detail_of(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
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
