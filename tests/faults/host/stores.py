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
import re
import signal
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
from toolrunner.api.keys import KeyStore, Role
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.settings.settings import Settings

PATIENCE_SECONDS = 120.0


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
        _, self.free = keys.create("free", role=Role.OPERATOR)
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
    metrics = Metrics(Tables(1))
    told: list[list[str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append([record.levelname, record.getMessage()])  # type: ignore[method-assign]
    logging.getLogger("toolrunner.jobs").addHandler(handler)
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
            assert (await ask("POST", "/v1/jobs"))[0] == 503
            jobs = len(list((state / "payloads").iterdir()))
        after = await ask.of_all_kinds(own)
    lines = (state / "audit.jsonl").read_text().splitlines()
    found = {"during": during, "jobs": jobs, "after": after, "audit": lines, "told": told}
    return {**found, "state": str(state)}


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


def commanded(state: Path, *words: str) -> list[Any]:
    """Return the exit status of a command, and what it has said."""
    command = [sys.executable, "-P", "-m", "toolrunner", *words, "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout + done.stderr]


def leave_jobs(state: Path, plugin: str) -> None:
    """Leave many jobs that have ended, most of them with nothing that could be deleted."""
    with backend_of(state, plugin) as backend:
        for _ in range(600):
            job, _ = backend.analysis.submit(Submission("sample", {}))
            backend.jobs.cancel_job(job.id)
        backend.start()
        made = [backend.analysis.submit(Submission("sample", {}))[0] for _ in range(5)]
        spin(lambda: all(has_ended(backend.jobs.get_job(one.id)) for one in made))


def has_ended(job: Any) -> bool:
    """Whether it has."""
    return job is not None and job.status.has_ended


def incident(state: Path, plugin: str) -> dict[str, Any]:
    """What ends an incident, while the disk is full: without a server, and with one."""
    found: dict[str, Any] = {}
    with contextlib.closing(KeyStore(state)) as keys:
        _, operator = keys.create("ops", role=Role.OPERATOR)
        _, leaked = keys.create("leaked")
        keys.create("old")
    leave_jobs(state, plugin)
    plugins = ("--plugins", plugin)
    with full(state):
        found["without"] = {
            "keys list": commanded(state, "keys", "list"),
            "revoke": commanded(state, "keys", "revoke", "old"),
            "disable": commanded(state, "plugins", "disable", "sample", *plugins),
            "enable": commanded(state, "plugins", "enable", "sample", *plugins),
            "jobs list": commanded(state, "jobs", "list", "--limit", "1"),
        }
    with Serving(state, plugin, "--keys") as serving:
        serving.worker()
        address = serving.address()
        spin(lambda: len(list((state / "reserve").iterdir())) == 8)

        def status(path: str, token: str) -> int:
            headers, body = {"X-API-Key": token}, {"plugin": "sample", "payload": {}}
            url = f"{address}{path}"
            return httpx.post(url, json=body, headers=headers, timeout=60).status_code

        with full(state):
            found["with"] = {
                "before": status("/v1/analyze", leaked),
                "revoke": commanded(state, "keys", "revoke", "leaked"),
                "leaked": status("/v1/analyze", leaked),
                "suspend": status("/v1/plugins/sample/suspend", operator),
                "suspended": status("/v1/analyze", operator),
                "enable": commanded(state, "plugins", "enable", "sample", *plugins),
                "enabled": status("/v1/analyze", operator),
                "purge": commanded(state, "jobs", "purge", "--all"),
                "jobs": commanded(state, "jobs", "list"),
            }
    return {**found, "log": serving.log}


class Serving:
    """A server of one worker, for as long as this is entered."""

    def __init__(self, state: Path, plugin: str, *more: str) -> None:
        words = ["serve", "--port", "0", "--workers", "1", "--plugins", plugin, *more]
        command = [sys.executable, "-P", "-m", "toolrunner", *words, "--state", str(state)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self._lines = self._process.stderr
        self.log = ""

    def __enter__(self) -> Serving:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and read the rest of its log."""
        self._process.terminate()
        self.log += self._lines.read()
        self._lines.close()
        self.status = self._process.wait()

    def wait_for(self, pattern: str) -> str:
        """Return what the log says next of this pattern."""
        for line in iter(self._lines.readline, ""):
            self.log += line
            if found := re.search(pattern, line):
                return found[1]
        sys.exit("it ended:\n" + self.log)

    def worker(self) -> int:
        """Wait for one that is ready, and return its process."""
        return int(self.wait_for(r"process (\d+)\) is ready"))

    def address(self) -> str:
        """Wait until it says where it listens."""
        return self.wait_for(r"listening on (\S+)")


def server(state: Path, plugin: str) -> dict[str, Any]:
    """A server that is started while the disk is full, and one of whose workers dies then."""
    with contextlib.ExitStack() as until_the_end, contextlib.ExitStack() as filled:
        filled.enter_context(full(state))
        serving = until_the_end.enter_context(Serving(state, plugin))
        pid = serving.worker()
        address = serving.address()
        during = [asked(address)]
        os.kill(pid, signal.SIGKILL)
        serving.worker()
        during.append(asked(address))
        filled.close()
        spin(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        after = asked(address)
    return {"during": during, "after": after, "log": serving.log}


def keyed(state: Path, plugin: str) -> dict[str, Any]:
    """The disk of a server with keys fills, and its workers are killed then."""
    with contextlib.closing(KeyStore(state)) as keys:
        _, token = keys.create("somebody")

    def call() -> int:
        body, headers = {"plugin": "sample", "payload": {}}, {"Authorization": f"Bearer {token}"}
        return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_SECONDS).status_code

    statuses = []
    with Serving(state, plugin, "--keys") as serving:
        pid = serving.worker()
        url = f"{serving.address()}/v1/analyze"
        statuses.append(call())
        with full(state):
            for _ in range(2):
                os.kill(pid, signal.SIGKILL)
                pid = serving.worker()
                statuses.append(call())
        statuses.append(call())
    return {"statuses": statuses, "ended": serving.status, "log": serving.log}


def asked(address: str) -> dict[str, Any]:
    """Return what a server says of itself, and what it answers."""
    call = {"plugin": "sample", "payload": {}}
    answers = {
        "analyze": httpx.post(f"{address}/v1/analyze", json=call, timeout=PATIENCE_SECONDS),
        "leave a job": httpx.post(f"{address}/v1/jobs", json=call),
        "alive": httpx.get(f"{address}/healthz"),
        "figures": httpx.get(f"{address}/metrics"),
        "plugins": httpx.get(f"{address}/v1/plugins"),
    }
    ready = httpx.get(f"{address}/readyz")
    return {
        **{name: answer.status_code for name, answer in answers.items()},
        "broken": re.findall(r'toolrunner_problem\{part="(\w+)"\} 1.0', answers["figures"].text),
        "ready": [ready.status_code, *(ready.json()[one] for one in ("reasons", "warnings"))],
    }


def main(what: str, plugin: str) -> None:
    """Do it, in a process that the imports have used nothing of."""
    small = Path(os.environ["SMALL"])
    options = "size=24m,nr_inodes=200,mode=1777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(small)], check=True)
    cases = (counts, job, http, audit, command, incident, server, keyed)
    doing = {case.__name__: case for case in cases}[what]
    process = multiprocessing.get_context("fork").Process(
        target=lambda: print(json.dumps(doing(small, plugin)), flush=True)
    )
    process.start()
    process.join()
    sys.exit(process.exitcode)


if __name__ == "__main__":
    main(*sys.argv[1:])
