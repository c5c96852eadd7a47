"""Many requests at once, and jobs through the deaths of all who could run them."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from tests.api.serve.conftest import Serve, Server
from tests.conftest import WritePlugin

FORK = multiprocessing.get_context("fork")
REQUESTS = 1000
CLIENTS = 32
CLIENT_PROCESSES = 8
WORKERS = 2
JOBS = 200
MOST_GROWTH_BYTES = 5 << 20
WORK = """
    import time

    def run(payload):
        if payload.get("fail"):
            raise ValueError("as told")
        time.sleep(payload.get("seconds", 0))
        return {"n": payload["n"]}
"""
COUNTED = re.compile(r'(?m)^toolrunner_calls_total\{outcome="(\w+)",plugin="(.*)"\} ([0-9.e+]+)$')


def body_of(number: int) -> tuple[dict[str, Any], str]:
    """Return a request, and the outcome that it has to have."""
    if number % 10 == 3:
        return {"plugin": "sample", "payload": {"fail": True}}, "ExecutionError"
    if number % 10 == 7:
        return {"plugin": "nobody", "payload": {}}, "PluginNotFound"
    return {"plugin": "sample", "payload": {"n": number}}, "success"


def answers(address: str, numbers: range) -> Counter[str]:
    """Send requests over one connection, and count the outcomes; each has to be the right one."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    outcomes: Counter[str] = Counter()
    for number in numbers:
        body, expected = body_of(number)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/analyze", json.dumps(body), headers)
        response = connection.getresponse()
        document = json.loads(response.read())
        if response.status == 200:
            assert document == {"result": {"n": number}, "plugin": "sample"}
            outcomes["success"] += 1
        else:
            outcomes[document["detail"]["type"]] += 1
            assert document["detail"]["type"] == expected
    connection.close()
    return outcomes


def send(address: str, numbers: range) -> Counter[str]:
    """Send requests from many clients at once, a few of them a process; count the outcomes."""
    reader, writer = FORK.Pipe(duplex=False)

    def clients(first: int) -> None:
        shares = [numbers[first + n :: CLIENTS] for n in range(CLIENTS // CLIENT_PROCESSES)]
        with ThreadPoolExecutor(len(shares)) as threads:
            found = threads.map(lambda share: answers(address, share), shares)
            writer.send(sum(found, Counter()))

    step = CLIENTS // CLIENT_PROCESSES
    processes = [FORK.Process(target=clients, args=(n,)) for n in range(0, CLIENTS, step)]
    for process in processes:
        process.start()
    writer.close()
    outcomes: Counter[str] = sum((reader.recv() for _ in processes), Counter())
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return outcomes


def resident(server: Server) -> dict[int, int]:
    """Return the resident bytes of each worker."""
    return {pid: psutil.Process(pid).memory_info().rss for pid in server.workers()}


@pytest.mark.timeout(600)
def test_every_request_is_answered_and_counted(serve: Serve, write_plugin: WritePlugin) -> None:
    """Once, in the figures and in the registry; and no worker grows."""
    server = serve("--workers", str(WORKERS), "--plugins", write_plugin(WORK))
    address = server.ready()
    server.drain_log()
    early = send(address, range(REQUESTS // 10))
    before = resident(server)
    outcomes = early + send(address, range(REQUESTS // 10, REQUESTS))
    assert outcomes.total() == REQUESTS
    after = resident(server)
    assert after.keys() == before.keys(), "a worker died"
    for pid, size in after.items():
        assert size - before[pid] <= MOST_GROWTH_BYTES
    counted: Counter[str] = Counter()
    for outcome, _plugin, number in COUNTED.findall(httpx.get(f"{address}/metrics").text):
        counted[outcome] += int(float(number))
    assert counted == outcomes
    status = httpx.get(f"{address}/v1/plugins/sample").json()
    assert status["success_count"] == outcomes["success"]
    assert status["error_count"] == outcomes["ExecutionError"]
    assert status["in_flight"] == 0


def asked(address: str, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Ask again and again, until a worker lives long enough to answer; return its document."""
    content = None if body is None else json.dumps(body)
    given = {"Content-Type": "application/json", **headers}
    never = threading.Event()
    for _ in range(3000):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
        try:
            connection.request(method, path, content, given)
            response = connection.getresponse()
            document = json.loads(response.read())
        except (OSError, http.client.HTTPException):
            never.wait(0.05)
        else:
            assert response.status in {200, 202}, document
            return document
        finally:
            connection.close()
    pytest.fail("nobody answers")


def leave(address: str, numbers: range) -> None:
    """Leave jobs. Who is not sure whether one was stored asks again with the same key."""
    for number in numbers:
        retries = 5 if number % 2 else 0
        payload = {"n": number, "seconds": 0.25}
        body = {"plugin": "sample", "payload": payload, "retries": retries}
        asked(address, "POST", "/v1/jobs", body, **{"Idempotency-Key": f"job-{number}"})


def wait_for_ended(address: str, number: int) -> list[dict[str, Any]]:
    """Return all jobs, once so many have ended."""
    never = threading.Event()
    for _ in range(3000):
        jobs: list[dict[str, Any]] = asked(address, "GET", "/v1/jobs?limit=1000")
        if sum(job["ended_at"] is not None for job in jobs) >= number:
            return jobs
        never.wait(0.2)
    pytest.fail("they do not end")


@pytest.mark.timeout(900)
def test_no_job_is_lost_whoever_dies(serve: Serve, write_plugin: WritePlugin) -> None:
    """A worker and the supervisor are killed while 200 jobs wait and run."""
    plugin = write_plugin(WORK)
    server = serve("--workers", "4", "--plugins", plugin)
    address = server.ready()
    server.drain_log()
    callers = [FORK.Process(target=leave, args=(address, range(n, JOBS, 4))) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
        assert caller.exitcode == 0
    wait_for_ended(address, 10)
    os.kill(server.workers()[0], signal.SIGKILL)
    jobs = wait_for_ended(address, 40)
    assert len(jobs) == JOBS
    assert any(job["status"] == "PENDING" for job in jobs)
    server.family()
    server.process.kill()
    assert server.survivors() == []

    again = serve("--workers", "4", "--plugins", plugin)
    address = again.ready()
    again.drain_log()
    jobs = wait_for_ended(address, JOBS)
    assert len(jobs) == JOBS
    died = again_run = 0
    for job in jobs:
        if job["status"] == "SUCCESS":
            continue
        died += 1
        assert job["status"] == "FAILED"
        assert "the process that ran the job ended" in job["error"]["message"]
        assert job["attempts"] == 1, "it was allowed another attempt"
    for job in jobs:
        if job["attempts"] > 1:  # a second time is for those alone that allow it
            again_run += 1
            answer = asked(address, "GET", f"/v1/jobs/{job['id']}/result")
            assert answer["result"]["n"] % 2 == 1
    # The killed worker had two of them in its hands.
    assert 0 < died + again_run < JOBS / 4
    again.family()
    assert again.end() == 0
    assert again.survivors() == []
