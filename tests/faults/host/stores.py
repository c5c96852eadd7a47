"""Fills the disk below a state folder at the worst moment, and says what came of it.

python stores.py WHAT PLUGIN: mounts a small file system on $SMALL, which is the state folder, and
prints as JSON what the function WHAT has found. The plugin waits for as long as the file $MARK is
there, once it has reported progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.faults.host.scarce import full
from toolrunner import Call
from toolrunner.api.audit import AuditLog
from toolrunner.api.http.app import create_app
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.metrics import Metrics, prepare
from toolrunner.api.keys import KeyStore
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.settings.settings import Settings

PATIENCE_SECONDS = 120.0
MOST_LABELS = 60  # more than a page of figures


def spin(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 100)):
        if holds():
            return
        never.wait(0.01)
    sys.exit("it never came so far")


def backend_of(state: Path, plugin: str) -> Backend:
    """Return what a server has over the state folder."""
    return Backend(Settings.load(state=state), plugin_paths=[plugin])


def counts(state: Path, plugin: str) -> dict[str, Any]:
    """The disk fills while a call runs, and has room again after one more."""
    with backend_of(state, plugin) as backend, contextlib.ExitStack() as room:
        call = Call(on_progress=lambda *_: room.enter_context(full(state)))
        answers = [backend.plugins.execute_plugin("sample", {}, call=call)]
        answers += [backend.plugins.execute_plugin("sample", {})]
        answers += [backend.plugins.execute_plugin("sample", {"fail": True})]
        room.close()
        status = backend.plugins.get_plugin("sample")
        assert status is not None
    with backend_of(state, plugin) as backend:
        later = backend.plugins.get_plugin("sample")
        assert later is not None
    return {
        "succeeded": [error is None for _, error in answers],
        "state": status.state,
        "counted": [status.success_count, status.error_count, status.in_flight],
        "later": [later.success_count, later.error_count, later.in_flight],
    }


def job(state: Path, plugin: str) -> dict[str, Any]:
    """The disk fills while a job runs, which ends then."""
    mark = Path(os.environ["MARK"])
    mark.touch()
    failed = threading.Event()

    class Hears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            """Take note that the job's end could not be stored."""
            if "could not be ended" in record.getMessage():
                failed.set()

    logging.getLogger("toolrunner.jobs").addHandler(Hears())
    with backend_of(state, plugin) as backend:
        backend.start()
        made, _ = backend.analysis.submit(Submission("sample", {}))

        def is_at(*wanted: JobStatus) -> bool:
            found = backend.jobs.get_job(made.id)
            return found is not None and found.status in wanted

        spin(lambda: is_at(JobStatus.RUNNING))
        with full(state):
            mark.unlink()
            was_noticed = failed.wait(PATIENCE_SECONDS)
        spin(lambda: is_at(JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED))
        ended = backend.jobs.get_job(made.id)
        assert ended is not None
        found = {
            "was_noticed": was_noticed,
            "status": ended.status,
            "attempts": ended.attempts,
            "error": ended.error,
            "result": backend.jobs.job_result(made.id),
            "answer": backend.plugins.execute_plugin("sample", {}),
        }
    return {**found, "pieces": [path.name for path in state.rglob("*.part")]}


class Requests:
    """Requests to the app of a server, by one of two keys."""

    def __init__(self, client: httpx.AsyncClient, keys: KeyStore) -> None:
        _, self.free = keys.create("free")
        _, self.counted = keys.create("counted", per_minute=1000)
        self._client = client

    async def __call__(self, method: str, path: str, token: str = "") -> Any:
        """Return the status of an answer, with the type and the message of an error."""
        body = {"plugin": "sample", "payload": {}} if method == "POST" else None
        headers = {"Authorization": f"Bearer {token or self.free}"}
        response = await self._client.request(method, path, json=body, headers=headers)
        self.location = response.headers.get("location", "")
        if response.status_code < 400 or path == "/readyz":
            return response.status_code
        detail = response.json()["detail"]
        return [response.status_code, detail["type"], detail["message"]]

    async def of_all_kinds(self, own: str) -> dict[str, Any]:
        """Ask for everything once; ``own`` is where a job of the caller's is."""
        return {
            "analyze": await self("POST", "/v1/analyze"),
            "analyze, counted": await self("POST", "/v1/analyze", self.counted),
            "leave a job": await self("POST", "/v1/jobs"),
            "a job": await self("GET", own),
            "cancel it": await self("DELETE", own),
            "plugins": await self("GET", "/v1/plugins"),
            "figures": await self("GET", "/metrics"),
            "ready": await self("GET", "/readyz"),
        }


def http(state: Path, plugin: str) -> dict[str, Any]:
    """Requests of all kinds while the disk is full, and the same ones after."""
    return asyncio.run(requests(state, plugin))


async def requests(state: Path, plugin: str) -> dict[str, Any]:
    """Make them."""
    figures = state / "figures"
    prepare(figures)
    metrics = Metrics(figures)
    async with contextlib.AsyncExitStack() as stack:
        backend = stack.enter_context(backend_of(state, plugin))
        keys = stack.enter_context(contextlib.closing(KeyStore(state)))
        log = stack.enter_context(contextlib.closing(AuditLog(state / "audit.jsonl")))
        doors = Doors(backend, keys, log, metrics)
        stack.callback(doors.threads.close)
        transport = httpx.ASGITransport(create_app(doors))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        )
        ask = Requests(client, keys)
        metrics.observe(Executed("before", "success", 0.1, Call()))
        assert await ask("POST", "/v1/jobs") == 202
        own = ask.location
        with full(state):
            during = await ask.of_all_kinds(own)
            for number in range(MOST_LABELS):
                metrics.observe(Executed(f"plugin-{number}", "success", 0.1, Call()))
            jobs = len(list((state / "payloads").iterdir()))
        after = await ask.of_all_kinds(own)
    lines = (state / "audit.jsonl").read_text().splitlines()
    return {"during": during, "jobs": jobs, "after": after, "audit": lines}


def audit(state: Path, _plugin: str) -> dict[str, Any]:
    """The disk is full in the middle of a line."""
    path = state / "audit.jsonl"
    with contextlib.closing(AuditLog(path)) as log:
        log.record(number=0)
        with full(state):
            while len(path.read_bytes()) % 4096:
                log.record(caller="somebody of a name that does not divide a page")
        log.record(number=1)
    return {"lines": path.read_text().splitlines()}


def command(state: Path, plugin: str) -> dict[str, Any]:
    """Commands that have to write there."""
    found = {}
    for name, arguments in {
        "keys": ["keys", "create", "somebody"],
        "serve": ["serve", "--port", "0", "--plugins", plugin],
        "run": ["run", "sample", "--payload", "{}", "--plugins", plugin],
    }.items():
        with full(state):
            done = subprocess.run(
                [sys.executable, "-P", "-m", "toolrunner", *arguments, "--state", str(state)],
                capture_output=True,
                text=True,
                check=False,
            )
        found[name] = {"status": done.returncode, "out": done.stdout, "err": done.stderr}
    return found


def main(what: str, plugin: str) -> None:
    """Do it, in a process that the imports have used nothing of."""
    small = Path(os.environ["SMALL"])
    options = "size=24m,nr_inodes=200,mode=1777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(small)], check=True)
    doing = {"counts": counts, "job": job, "http": http, "audit": audit, "command": command}[what]
    process = multiprocessing.get_context("fork").Process(
        target=lambda: print(json.dumps(doing(small, plugin)), flush=True)
    )
    process.start()
    process.join()
    sys.exit(process.exitcode)


if __name__ == "__main__":
    main(*sys.argv[1:])
