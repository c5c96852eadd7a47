"""Servers of different state folders that share jobs in one PostgreSQL, and files in one place."""

from __future__ import annotations

import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve, Server
from tests.buckets import KEYS, bucket, s3_address, s3_keys
from tests.conftest import WritePlugin
from tests.postgres import Postgres
from tests.runner.webhooks.receiving import receiving
from tests.sandbox.boxes import wait_until

__all__ = ["bucket", "s3_address", "s3_keys"]

TOLD = """
    import time

    def run(payload, context):
        context.progress(0.5, "begun")
        while payload.get("wait"):
            time.sleep(0.05)
        artifact = context.artifact("made.txt", b"bytes", mime_type="text/plain")
        return {"n": payload["n"]}
"""


@pytest.fixture
def cluster(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> dict[str, str]:
    """The settings that make servers one; with files in a folder, if a test does not say where."""
    is_bucket = getattr(request, "param", "folder") == "bucket"
    place = request.getfixturevalue("bucket") if is_bucket else (tmp_path / "shared").as_uri()
    return {
        "TOOLRUNNER_JOBS": database,
        "TOOLRUNNER_BLOBS": place,
        "TOOLRUNNER_JOB_THREADS": "1",
        **KEYS,
    }


def left(address: str, retries: int = 0, **payload: Any) -> str:
    """Leave a job, and return where it is."""
    body = {"plugin": "sample", "payload": payload, "retries": retries}
    answer = httpx.post(f"{address}/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def job(address: str, location: str) -> dict[str, Any]:
    """Return a job as a server shows it."""
    found: dict[str, Any] = httpx.get(address + location).json()
    return found


@pytest.mark.parametrize("cluster", ["folder", "bucket"], indirect=True)
def test_two_servers_act_as_one(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path, cluster: dict[str, str], cli: Cli
) -> None:
    """What is left at one runs at either; both show it, its result and events, and cancel it.

    Each of its ends is posted once, and signed with one secret.
    """
    plugin = write_plugin(TOLD, limits="{ wall_seconds = 600 }")
    with receiving() as receiver:
        cluster["TOOLRUNNER_WEBHOOKS"] = receiver.url
        ended = _act_as_one(serve, plugin, tmp_path, cluster)
        told = receiver.wait(len(ended))
        secret = cli("webhooks", "secret", receiver.url, **cluster).out.strip()
        documents = [post.verified(secret)["data"] for post in told]
    assert {one["id"]: one["status"] for one in documents} == ended
    assert len(documents) == len(ended)


def _act_as_one(
    serve: Serve, plugin: Path, tmp_path: Path, cluster: dict[str, str]
) -> dict[str, str]:
    """Let three servers do what they share; return the jobs, by their ids, and how each ended."""

    def started(name: str) -> tuple[Server, str]:
        state = tmp_path / name
        server = serve("--workers", "1", "--plugins", plugin, "--state", state, **cluster)
        return server, server.ready()

    first, one = started("one")
    endless = left(one, wait=True, n=0)
    wait_until(lambda: job(one, endless).get("progress") == 0.5, "it runs at the first")
    second, other = started("two")
    location = left(one, n=7)  # the first one is busy
    wait_until(lambda: job(one, location)["status"] == "SUCCESS", "it runs at the second")
    for address in (one, other):
        assert httpx.get(f"{address}{location}/result").json()["result"] == {"n": 7}
        assert httpx.get(f"{address}{location}/artifacts/made.txt").content == b"bytes"
        assert 'data: {"status": "SUCCESS"}' in httpx.get(f"{address}{location}/events").text
        assert job(address, endless)["status"] == "RUNNING"
    assert not (tmp_path / "one" / "jobs.sqlite3").exists()
    assert httpx.delete(other + endless).status_code in {200, 202}
    wait_until(lambda: job(one, endless)["status"] == "CANCELLED", "it ends where it runs")

    assert second.end() == 0
    lost = left(one, wait=True, n=1)
    wait_until(lambda: job(one, lost).get("progress") == 0.5, "it runs at the first")
    first.family()
    first.process.kill()  # its worker would wait for what runs
    for process in first.known.values():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    first.finish()
    third, other = started("three")
    wait_until(lambda: job(other, lost)["status"] == "FAILED", "it is taken back")
    assert "the process that ran the job ended" in job(other, lost)["error"]["message"]
    assert third.end() == 0
    assert "Traceback" not in first.log + second.log + third.log
    ends = {location: "SUCCESS", endless: "CANCELLED", lost: "FAILED"}
    return {where.rpartition("/")[2]: status for where, status in ends.items()}


def test_a_server_goes_on_without_postgresql(
    serve: Serve, write_plugin: WritePlugin, cluster: dict[str, str], postgres: Postgres
) -> None:
    """Calls run; jobs are refused, and /readyz says why; by itself it goes on once it is back."""
    plugin = write_plugin(TOLD)
    server = serve("--workers", "1", "--plugins", plugin, **cluster)
    address = server.ready()
    before = left(address, n=1)
    wait_until(lambda: job(address, before)["status"] == "SUCCESS", "it runs")
    postgres.stop(signal.SIGQUIT)
    call = {"plugin": "sample", "payload": {"n": 3}}
    server.wait_for("no jobs are taken, as the job store failed")
    assert httpx.post(f"{address}/v1/analyze", json=call).json()["result"] == {"n": 3}
    answer = httpx.post(f"{address}/v1/jobs", json=call)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    ready = httpx.get(f"{address}/readyz")
    [reason] = ready.json()["reasons"]
    assert ready.status_code == 503
    assert reason.startswith("the job store: postgresql://")
    assert "see that PostgreSQL runs" in reason
    postgres.start()
    server.wait_for("jobs are taken again")
    assert httpx.get(f"{address}/readyz").status_code == 200
    assert httpx.get(f"{address}{before}/result").json()["result"] == {"n": 1}
    after = left(address, n=2)
    wait_until(lambda: job(address, after)["status"] == "SUCCESS", "it runs again")
    assert server.end() == 0
    assert "Traceback" not in server.log


@contextmanager
def silent(postgres: Postgres) -> Iterator[None]:
    """Have PostgreSQL take connections, and answer nobody, while the block lasts."""
    main = psutil.Process(postgres.pid)
    family = [main, *main.children(recursive=True)]
    for one in family:
        one.suspend()
    try:
        yield
    finally:
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.resume()


def test_a_probe_does_not_wait_for_a_postgresql_that_says_nothing(
    serve: Serve, write_plugin: WritePlugin, cluster: dict[str, str], postgres: Postgres
) -> None:
    """Who asks gives up after less than a connection to it may take: it is told what is known."""
    server = serve("--workers", "1", "--plugins", write_plugin(TOLD), **cluster)
    address = server.ready()
    assert httpx.get(f"{address}/readyz").status_code == 200
    jobs = "toolrunner_jobs_oldest_pending_seconds "

    def reasons() -> list[str]:
        found: list[str] = httpx.get(f"{address}/readyz", timeout=4).json()["reasons"]
        return found

    def figures() -> str:
        return httpx.get(f"{address}/metrics", timeout=4).text

    assert jobs in figures()
    with silent(postgres):
        wait_until(lambda: "the job store: " in str(reasons()), "it says so")
        found = figures()
        assert 'toolrunner_problem{part="jobs"} 1.0' in found
        assert 'toolrunner_plugin_state{plugin="sample"' in found
        assert jobs not in found
    wait_until(lambda: jobs in figures(), "they are known again")
    wait_until(lambda: not reasons(), "it is ready again")
    assert server.end() == 0


def test_who_refuses_jobs_says_so(
    serve: Serve, write_plugin: WritePlugin, cluster: dict[str, str]
) -> None:
    """PostgreSQL answers, and a lock in it keeps jobs out: a warning, until one is stored again."""
    server = serve("--workers", "1", "--plugins", write_plugin(TOLD), **cluster)
    address = server.ready()
    call = {"plugin": "sample", "payload": {"n": 1}}
    with psycopg.connect(cluster["TOOLRUNNER_JOBS"]) as other:
        other.execute("LOCK TABLE toolrunner.events IN ACCESS EXCLUSIVE MODE")
        refused = httpx.post(f"{address}/v1/jobs", json=call, timeout=30)
        assert refused.status_code == 503
        ready = httpx.get(f"{address}/readyz")
        assert ready.status_code == 200
        [warning] = ready.json()["warnings"]
        assert warning.startswith("jobs were refused in the last minute: postgresql://")
        assert "did not answer within its time" in warning
        figures = httpx.get(f"{address}/metrics").text
        assert 'toolrunner_problem{part="accepting"} 1.0' in figures
    left(address, n=2)
    assert httpx.get(f"{address}/readyz").json()["warnings"] == []
    assert server.end() == 0


def test_a_database_without_tables_is_refused(
    serve: Serve, cli: Cli, cluster: dict[str, str], postgres: Postgres
) -> None:
    """By one sentence with what to do; what it says to do is done once, and then it is served."""
    with postgres.database(is_migrated=False) as url:
        settings = {**cluster, "TOOLRUNNER_JOBS": url}
        refused = serve("--workers", "1", **settings)
        assert refused.finish() == 3
        assert "is empty: run `toolrunner migrate`" in refused.log
        assert "Traceback" not in refused.log
        first = cli("migrate", "--json", **settings)
        [document] = first.documents
        assert "jobs 1" in document["steps"]
        assert cli("migrate", "--json", **settings).documents[0]["steps"] == []
        server = serve("--workers", "1", **settings)
        server.ready()
        assert server.end() == 0
        assert cli("jobs", "--json", **settings).status == 0


def test_what_servers_have_together(
    serve: Serve, cli: Cli, write_plugin: WritePlugin, tmp_path: Path, cluster: dict[str, str]
) -> None:
    """Keys, suspended plugins, counts and the audit log are those of both, as commands see them."""
    plugin, state = write_plugin(TOLD), tmp_path / "admin"
    shop = cli("--state", state, "--json", "keys", "create", "shop").documents[0]["token"]
    assert cli("--state", state, "--json", "migrate", "--keys", **cluster).documents[0]["keys"] == 1
    created = cli(
        "--state", state, "--json", "keys", "create", "ops", "--role", "operator", **cluster
    )
    headers = {"X-API-Key": shop}
    operator = {"X-API-Key": created.documents[0]["token"]}
    addresses = []
    for name in ("one", "two"):
        options = ("--workers", "1", "--plugins", plugin, "--state", tmp_path / name, "--keys")
        addresses.append(serve(*options, **cluster).ready())
    one, other = addresses

    call = {"plugin": "sample", "payload": {"n": 1}}
    for address in addresses:
        assert httpx.post(f"{address}/v1/analyze", json=call).status_code == 401
        assert httpx.post(f"{address}/v1/analyze", json=call, headers=headers).status_code == 200

    def plugin_at(address: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{address}/v1/plugins/sample", headers=operator).json()
        return found

    for address in addresses:
        wait_until(lambda: plugin_at(address)["success_count"] == 2, "sums")  # noqa: B023 - called here
        wait_until(
            lambda: [where["workers"] for where in plugin_at(address)["available_on"]] == [2],  # noqa: B023 - same
            "both have it",
        )
    assert plugin_at(one)["available_on"][0]["host"] == platform.node()
    of_caller = httpx.get(f"{one}/v1/plugins/sample", headers=headers).json()
    assert of_caller["available_on"] == [{"version": "1.0.0", "workers": 2}]
    about = ("--state", state, "--plugins", plugin, "--json", "plugins")
    assert cli(*about, "show", "sample", **cluster).documents[0]["success_count"] == 2

    assert cli(*about, "disable", "sample", **cluster).status == 0
    for address in addresses:
        wait_until(lambda: plugin_at(address)["suspended_by"] == "operator", "disabled")  # noqa: B023 - same
    resumed = httpx.post(f"{other}/v1/plugins/sample/resume", headers=operator)
    assert resumed.json()["suspended_by"] == ""
    wait_until(lambda: plugin_at(one)["suspended_by"] == "", "enabled")

    job = {"plugin": "sample", "payload": {"wait": True, "n": 0}}
    location = httpx.post(f"{other}/v1/jobs", json=job, headers=headers).headers["location"]
    with httpx.stream("GET", f"{other}{location}/events", headers=headers) as stream:
        assert (
            cli("--state", state, "keys", "revoke", "shop", "--cancel-jobs", **cluster).status == 0
        )
        stream.read()  # to its end, which the revocation is, or that of the job
    for address in addresses:
        wait_until(
            lambda: httpx.get(f"{address}/v1/plugins", headers=headers).status_code == 401,  # noqa: B023 - same
            "revoked",
        )
    lines = httpx.get(f"{one}/v1/audit", params={"caller": "shop"}, headers=operator).json()
    assert {line["outcome"] for line in lines} >= {"success"}
    assert len([line for line in lines if line["route"] == "POST /v1/analyze"]) == 2
    assert httpx.get(f"{one}/v1/audit", headers=headers).status_code == 401
