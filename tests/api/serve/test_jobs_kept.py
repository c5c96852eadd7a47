"""Jobs of real servers that are stopped in mid-run, or that have lost their store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

ENDLESS = """
    import logging, time

    def run(payload, context):
        logging.getLogger("deep").warning("begun")
        while True:
            time.sleep(0.05)
"""


def left(address: str, retries: int) -> str:
    """Leave a job, and return where it is."""
    body = {"plugin": "sample", "payload": {}, "retries": retries}
    answer = httpx.post(f"{address}/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def test_an_end_in_mid_run_runs_no_job_twice(serve: Serve, write_plugin: WritePlugin) -> None:
    """SIGTERM costs a retry, as a crash does: who has allowed none finds out why, and is asked."""
    plugin = write_plugin(ENDLESS)
    options = {"TOOLRUNNER_DRAIN_SECONDS": "0.3", "TOOLRUNNER_JOB_THREADS": "2"}
    first = serve("--workers", "1", "--plugins", plugin, **options)
    address = first.ready()
    once, twice = left(address, 0), left(address, 1)
    for _ in range(2):
        first.wait_for("begun")
    assert first.end() == 0
    again = serve("--workers", "1", "--plugins", plugin, **options)
    address = again.ready()
    job: dict[str, Any] = httpx.get(address + once).json()
    assert (job["status"], job["attempts"]) == ("FAILED", 1)
    assert (job["error"]["type"], job["error"]["details"]["blame"]) == ("SandboxError", "host")
    assert "the server was stopped while the job ran" in job["error"]["message"]
    assert f"`toolrunner jobs retry {job['id']}`" in job["error"]["message"]
    assert job["dead"]
    assert httpx.get(f"{address}{once}/result").status_code == 503
    again.wait_for("begun")
    wait_until(lambda: httpx.get(address + twice).json()["attempts"] == 2, "the second attempt")
    assert again.end() == 0
    assert again.log.count("begun") == 1


def test_a_server_goes_on_without_its_jobs(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """It starts, runs calls, and says at /readyz what to do; with the file moved away, jobs too."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "jobs.sqlite3").write_bytes(b"\xff" * 8192)
    plugin = write_plugin("def run(payload): return {'n': 1}")
    server = serve("--workers", "1", "--plugins", plugin)
    address = server.ready()
    call = {"plugin": "sample", "payload": {}}
    assert httpx.post(f"{address}/v1/analyze", json=call).json()["result"] == {"n": 1}
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert "toolrunner_build_info" in httpx.get(f"{address}/metrics").text
    ready = httpx.get(f"{address}/readyz")
    [reason] = ready.json()["reasons"]
    assert ready.status_code == 503
    assert "jobs.sqlite3 is damaged" in reason
    assert "move it away" in reason
    for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/some")):
        body = call if method == "POST" else None
        answer = httpx.request(method, address + path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10"), path
        assert answer.json()["detail"]["type"] == "Overloaded"
    (state / "jobs.sqlite3").rename(tmp_path / "away")
    server.wait_for("jobs are taken again")
    assert httpx.get(f"{address}/readyz").status_code == 200
    location = httpx.post(f"{address}/v1/jobs", json=call).headers["location"]
    wait_until(lambda: httpx.get(address + location).json()["status"] == "SUCCESS", "it runs")
    assert server.end() == 0
    assert len(re.findall(r"no jobs are taken.*jobs\.sqlite3 is damaged", server.log)) == 1
    assert len(re.findall(r"jobs are refused: .*is damaged", server.log)) == 1
    assert server.log.count("is damaged") == 2, server.log
    assert "Traceback" not in server.log
