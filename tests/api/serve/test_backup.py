"""A backup of the state folder, made and put back by the commands of docs/deploy/README.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

GUIDE = Path(__file__).parents[3] / "docs/deploy/README.md"
ENDLESS = """
    import time

    def run(payload):
        while True:
            time.sleep(1)
"""
SHORT = """
    def run(payload):
        return {"done": True}
"""


def copying(folder: Path) -> list[list[str]]:
    """Return the guide's commands that make a backup, and those that put it back, for a folder."""
    text = GUIDE.read_text(encoding="utf-8").partition("## Backup")[2].partition("\n## ")[0]
    made = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        stop, *commands, start = block.splitlines()
        assert (stop, start) == ("systemctl stop toolrunner", "systemctl start toolrunner")
        here = [one.replace("/var/lib", str(folder)) for one in commands]
        made.append([one.replace("/var/backups", str(folder)) for one in here])
    return made


def run(commands: list[str]) -> None:
    """Run them, one after the other."""
    for command in commands:
        subprocess.run(command, shell=True, check=True, capture_output=True)


class Client:
    """Who asks a server with a key."""

    def __init__(self, address: str, key: str = "") -> None:
        self._jobs = f"{address}/v1/jobs"
        self._header = {"X-API-Key": key}

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self._jobs}/{path}", headers=self._header, timeout=120)

    def leave(self, plugin: str, payload: dict[str, Any], retries: int = 0) -> str:
        """Leave a job, and return its id."""
        body = {"plugin": plugin, "payload": payload, "retries": retries}
        made: str = httpx.post(self._jobs, json=body, headers=self._header).json()["id"]
        return made

    def status(self, job_id: str) -> str:
        """Return a job's status, or that there is none."""
        answer = self._get(job_id)
        return str(answer.json()["status"]) if answer.status_code == 200 else "gone"

    def wait(self, job_id: str, status: str) -> None:
        """Wait until a job has a status."""
        wait_until(lambda: self.status(job_id) == status, f"{job_id} is {status}")

    def result(self, job_id: str) -> object:
        """Return a job's result."""
        return self._get(f"{job_id}/result").json()["result"]


def test_a_backup_brings_back_jobs_results_and_keys(serve: Serve, cli: Cli, tmp_path: Path) -> None:
    """As they were when the server was stopped; what came after that is gone."""
    state = tmp_path / "toolrunner"
    back_up, put_back = copying(tmp_path)
    key = cli("--state", state, "--json", "keys", "create", "shop").documents[0]["token"]
    served = ("--keys", "--workers", "1", "--state", state)
    server = serve(*served)
    client = Client(server.ready(), key)
    before = client.leave("text-stats", {"text": "Before."})
    client.wait(before, "SUCCESS")
    kept = client.result(before)
    assert server.end() == 0
    run(back_up)

    later = cli("--state", state, "--json", "keys", "create", "later").documents[0]["token"]
    run(put_back)

    server = serve(*served)
    address = server.ready()
    client = Client(address, key)
    assert (client.status(before), client.result(before)) == ("SUCCESS", kept)
    assert Client(address, later).status(before) == "gone"
    again = client.leave("text-stats", {"text": "Again."})
    client.wait(again, "SUCCESS")
    assert server.end() == 0


def test_a_snapshot_of_a_running_server_is_taken_up_as_after_a_crash(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """All at one moment: what ran has FAILED, or runs again as retries allow; what waited runs."""
    settings = ("--workers", "1", "--plugins", write_plugin(ENDLESS))
    variables = {"TOOLRUNNER_JOB_THREADS": "2", "TOOLRUNNER_DRAIN_SECONDS": "0"}
    server = serve(*settings, **variables)
    client = Client(server.ready())
    once, more = client.leave("sample", {}), client.leave("sample", {}, retries=1)
    client.wait(once, "RUNNING")
    client.wait(more, "RUNNING")
    waiting = client.leave("text-stats", {"text": "Waiting."})
    assert client.status(waiting) == "PENDING"
    processes = [psutil.Process(pid) for pid in (server.process.pid, *server.workers())]
    for process in processes:
        process.suspend()
    shutil.copytree(tmp_path / "state", tmp_path / "snapshot")
    for process in processes:
        process.resume()
    server.end()

    write_plugin(SHORT)
    other = serve(*settings, "--state", tmp_path / "snapshot", **variables)
    client = Client(other.ready())
    client.wait(waiting, "SUCCESS")
    client.wait(more, "SUCCESS")
    assert client.result(more) == {"done": True}
    client.wait(once, "FAILED")
    assert other.end() == 0
