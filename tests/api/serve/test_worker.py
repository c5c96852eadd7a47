"""Workers that run what servers have taken: beside one state folder, and over PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

TOLD = """
    import time

    def run(payload, context):
        context.progress(0.5, "begun")
        while payload.get("wait"):
            time.sleep(0.05)
        return {"n": payload["n"]}
"""
NO_JOBS = {"TOOLRUNNER_JOB_THREADS": "0"}


def asked(address: str, *, retries: int = 0, **payload: Any) -> httpx.Response:
    """Leave a job, and return the answer."""
    body = {"plugin": "sample", "payload": payload, "retries": retries}
    return httpx.post(f"{address}/v1/jobs", json=body)


def left(address: str, *, retries: int = 0, **payload: Any) -> str:
    """Leave a job that is taken, and return the address of it."""
    answer = asked(address, retries=retries, **payload)
    assert answer.status_code == 202, answer.text
    return address + answer.headers["location"]


def job(location: str) -> dict[str, Any]:
    """Return a job as a server shows it."""
    found: dict[str, Any] = httpx.get(location).json()
    return found


def is_under_way(location: str, attempt: int = 1) -> bool:
    """Whether the plugin has begun, in that attempt."""
    found = job(location)
    return bool(found["progress"] == 0.5 and found["attempts"] == attempt)


def has(location: str, status: str) -> bool:
    """Whether a job has that status."""
    return str(job(location)["status"]) == status


def offered(database: str) -> set[str]:
    """Return in which versions workers have the plugin."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT version FROM toolrunner.offers WHERE plugin = 'sample'")
        return {version for (version,) in rows}


def test_a_server_without_threads_leaves_jobs_to_workers(
    serve: Serve, work: Serve, write_plugin: WritePlugin, database: str, tmp_path: Path
) -> None:
    """It takes those of plugins that a worker has alone; a worker's end leaves nothing running."""
    plugin = write_plugin(TOLD)
    cluster = {
        "TOOLRUNNER_JOBS": database,
        "TOOLRUNNER_BLOBS": (tmp_path / "shared").as_uri(),
        "TOOLRUNNER_ALLOWED_HOSTS": "probe.example",
    }
    server = serve("--workers", "1", **cluster, **NO_JOBS)
    address = server.ready()
    refused = asked(address, n=0)
    assert (refused.status_code, refused.json()["detail"]["type"]) == (400, "PluginNotFound")

    own = ("--state", tmp_path / "other", "--plugins", plugin)
    worker = work(*own, "--jobs", "1", "--health", "127.0.0.1:0", **cluster)
    probes = worker.wait_for(r"probes and figures at (http://\S+)")[1]
    worker.takes_jobs()
    assert database.partition("?")[0].rpartition("/")[2] in worker.log
    wait_until(lambda: asked(address, n=1).status_code == 202, "the worker has said what it has")
    location = left(address, n=7)
    wait_until(lambda: has(location, "SUCCESS"), "the worker runs it")
    assert httpx.get(f"{location}/result").json()["result"] == {"n": 7}
    assert httpx.get(f"{probes}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{probes}/readyz").json()["status"] == "ready"
    figures = httpx.get(f"{probes}/metrics", headers={"Host": "probe.example"}).text
    assert 'toolrunner_calls_total{outcome="success",plugin="sample"}' in figures
    assert 'toolrunner_jobs{status="SUCCESS"}' in figures
    call = {"plugin": "text-stats", "payload": {"text": "Here."}}
    assert httpx.post(f"{address}/v1/analyze", json=call).status_code == 200

    plugin.write_text(plugin.read_text().replace('"1.0.0"', '"2.0.0"'))
    worker.process.send_signal(signal.SIGHUP)
    worker.wait_for("plugins are loaded again")
    wait_until(lambda: offered(database) == {"2.0.0"}, "it has said what it has now")
    again = left(address, n=2)
    wait_until(lambda: has(again, "SUCCESS"), "that is what was asked for")

    endless = left(address, wait=True, n=0)
    wait_until(lambda: is_under_way(endless), "it runs")
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("SIGTERM: what runs may end within 30 s")
    wait_until(lambda: httpx.get(f"{probes}/readyz").status_code == 503, "it says so")
    assert "draining" in httpx.get(f"{probes}/readyz").json()["reasons"]
    assert httpx.get(f"{probes}/healthz").status_code == 200
    assert has(endless, "RUNNING")
    httpx.delete(endless)
    assert worker.finish() == 0
    assert has(endless, "CANCELLED")
    assert asked(address, n=3).status_code == 400  # nobody has it any more
    assert server.end() == 0
    assert "Traceback" not in server.log + worker.log


def test_a_workers_end_costs_a_retry(serve: Serve, work: Serve, write_plugin: WritePlugin) -> None:
    """Of what it runs, whether it is killed or told to go; what waits is left to the next one."""
    plugin = write_plugin(TOLD)
    server = serve("--workers", "1", "--plugins", plugin, **NO_JOBS)
    address = server.ready()
    once, twice = left(address, wait=True, n=0), left(address, retries=3, wait=True, n=0)
    assert job(once)["waiting_for"] == "a server that can run sample 1.0.0"
    server.wait_for(r"this one runs no jobs \(job_threads = 0\): start a worker that can")

    options = {"TOOLRUNNER_DRAIN_SECONDS": "0.3"}
    command = ("--plugins", plugin, "--jobs", "2", "--plugin", "sample")
    worker = work(*command, **options)
    worker.takes_jobs()
    worker.wait_for(r"at most 2 at once, of these plugins alone: sample")
    wait_until(lambda: is_under_way(once) and is_under_way(twice), "both run")
    [process] = worker.workers()
    os.kill(process, signal.SIGKILL)
    worker.wait_for(r"was ended by SIGKILL.*; what it ran is run again as its retries allow")
    wait_until(lambda: has(once, "FAILED"), "it has no retry")
    assert "the process that ran the job ended" in job(once)["error"]["message"]
    answer = httpx.get(f"{once}/result")
    assert answer.status_code == 503
    assert answer.json()["detail"]["details"]["blame"] == "host"
    assert "retry-after" not in answer.headers  # it stays so: the job is to be retried
    wait_until(lambda: is_under_way(twice, 2), "the next process runs it")
    assert worker.end() == 0
    found = job(twice)
    assert (found["status"], found["attempts"]) == ("PENDING", 2)

    third = work(*command, **options)
    third.takes_jobs()
    wait_until(lambda: is_under_way(twice, 3), "it goes on")
    third.family()
    third.process.kill()  # its process ends by itself
    third.finish()
    assert third.survivors() == []
    assert job(twice)["status"] == "PENDING"
    assert server.end() == 0
    assert "Traceback" not in server.log + worker.log + third.log


def test_a_worker_does_without_the_http_api() -> None:
    """What it is made of imports neither FastAPI nor uvicorn."""
    program = (
        "import sys, toolrunner.api.cli.app, toolrunner.api.serve.jobs_program;"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'fastapi', 'starlette', 'uvicorn'})"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
