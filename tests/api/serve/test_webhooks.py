"""A real server that tells a real receiver of its jobs, also after it was killed."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.runner.webhooks.receiving import receiving, status

PLUGIN = """
    def run(payload):
        if payload.get("fail"):
            raise ValueError("in /srv/secret/place/file.py")
        return {"n": 1}
"""


def test_a_killed_server_tells_after_its_restart(
    serve: Serve, write_plugin: WritePlugin, cli: Cli, tmp_path: Path
) -> None:
    """Signed with the secret that the command shows; no path of the host is in it."""
    plugins = ("--plugins", str(write_plugin(PLUGIN)), "--workers", "2")
    with receiving(status(503)) as receiver:
        first = serve(*plugins, TOOLRUNNER_WEBHOOKS=receiver.url)
        url = first.ready()
        left = {"plugin": "sample", "payload": {"fail": True}}
        job_id = httpx.post(f"{url}/v1/jobs", json=left, timeout=60).json()["id"]
        refused = receiver.wait(1)[0]
        first.wait_for(r"webhook \S+/jobs takes no messages, and is tried again: it answered 503")
        family = first.family()
        first.process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert first.finish() == -signal.SIGKILL
        posts, receiver.answer = len(receiver.posts), status(200)
        again = serve(*plugins, TOOLRUNNER_WEBHOOKS=receiver.url)
        again.ready()
        cli("--state", tmp_path / "state", "webhooks", "retry")  # sooner than the schedule says
        post = receiver.wait(posts + 1)[-1]
        assert post.id == refused.id
        secret = cli("--state", tmp_path / "state", "webhooks", "secret", receiver.url).out.strip()
        data = post.verified(secret)["data"]
        assert (data["id"], data["plugin"], data["status"]) == (job_id, "sample", "FAILED")
        assert data["error"]["type"] == "ExecutionError"
        assert "/srv/secret" not in post.body.decode()
        assert "log_tail" not in data["error"]["details"]
        assert again.end() == 0
        [shown] = cli("--state", tmp_path / "state", "--json", "webhooks").documents
        assert (shown["webhooks"][0]["waiting"], shown["failed"]) == (0, [])
