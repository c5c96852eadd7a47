"""What a cluster on this machine does, measured and as ``cluster_model`` has it.

Accepting a job, taking and ending one, short jobs by one to three workers, and what a caller with
many jobs does to others. Workers of the third are held to the same share of a processor each, as
machines of their own would be; only root can do that.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from members.whole import Cluster, Plan

from benchmarks.cluster_model import HEAVY_JOBS, LIGHT_EVERY, LIGHT_JOBS
from benchmarks.growth import quantile
from toolrunner.runner.jobs.blob_choice import blobs_of
from toolrunner.runner.jobs.cluster import open_cluster_store
from toolrunner.runner.jobs.job import Job, JobStatus, Submission
from toolrunner.runner.jobs.rules import bounds_of
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import JobStore
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease

SHARE = 0.25  # of a processor, for each worker
IMAGE = {"image": os.urandom(100_000), "mime_type": "image/png"}
NAP_SECONDS = 0.05
NAPS = f"""# /// script
# [tool.toolrunner]
# name = "nap"
# version = "1.0.0"
# description = "sleeps for a moment"
# input = "json"
# ///
import time


def run(payload, context):
    time.sleep({NAP_SECONDS})
    return {{}}
"""
_CPU = Path("/sys/fs/cgroup/cpu")
_PERIOD = 100_000  # microseconds
_BOUNDS = {"max_jobs": 100_000, "max_jobs_mb": 10_000, "keep_mb": 10_000}
Figures = dict[str, Any]


@contextmanager
def cluster(
    workers: int, *, servers: int = 0, job_threads: str = "1"
) -> Iterator[tuple[Cluster, JobStore]]:
    """Run servers, and workers that take one job at a time; give a store to leave jobs in."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o711)
        (folder / "nap.py").write_text(NAPS)
        settings = {**os.environ, "TOOLRUNNER_JOB_THREADS": job_threads}
        plugins = (str(folder / "nap.py"),)
        plan = Plan(servers=servers, workers=workers, plugins=plugins, settings=settings)
        made = Cluster(folder, plan)
        stack.callback(made.stop)
        made.start()
        loaded = Settings.load(
            jobs=made.postgres.url(), blobs=made.blobs, state=folder / "bench", **_BOUNDS
        )
        store = open_cluster_store(loaded)
        stack.callback(store.close)
        yield made, store


@contextmanager
def sqlite() -> Iterator[JobStore]:
    """Give a store of one machine."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        settings = Settings.load(state=Path(name), **_BOUNDS)
        lease = Lease(Path(name) / "workers")
        store = SqliteJobStore(Path(name), lease, **bounds_of(settings), blobs=blobs_of(settings))
        try:
            yield store
        finally:
            store.close()
            lease.close()


def accepting(_number: int, calls: int) -> Figures:
    """Milliseconds until a job with an image of 100 kB is stored, in each store."""
    with cluster(0) as (_, postgres), sqlite() as one_machine:
        taken: dict[str, list[float]] = {"sqlite": [], "postgresql": []}
        for _ in range(calls):  # in turns
            for name, store in (("sqlite", one_machine), ("postgresql", postgres)):
                taken[name].append(_timed(lambda: store.add(Submission("image", IMAGE))))  # noqa: B023 - called here
    return {name: quantile(seconds, 50) for name, seconds in taken.items()}


def database(_number: int, calls: int) -> Figures:
    """Milliseconds of the steps of a short job, alone, and how many steps at once are of use."""
    with cluster(0) as (_, store):
        accept = [_timed(lambda: store.add(Submission("nap", {}))) for _ in range(calls)]
        claim, end = [], []
        for _ in range(calls):
            begun = time.perf_counter()
            claimed = store.claim({"nap": "1.0.0"})
            claim.append(time.perf_counter() - begun)
            assert claimed is not None
            end.append(_timed(lambda: store.finish(claimed, JobStatus.SUCCESS, result={})))  # noqa: B023 - same
        look = [_timed(lambda: store.claim({"nap": "1.0.0"})) for _ in range(calls)]
        alone = calls / sum(claim + end)
        together = _together(store, 4, calls)
    milliseconds = {
        name: quantile(seconds, 50)
        for name, seconds in (("accept", accept), ("claim", claim), ("end", end), ("look", look))
    }
    return {**milliseconds, "at_once": together / alone, "jobs_per_second": together}


def _together(store: JobStore, threads: int, calls: int) -> float:
    """Return how many jobs a second several threads take and end."""
    for _ in range(threads * calls):
        store.add(Submission("nap", {}))

    def work() -> None:
        while (claimed := store.claim({"nap": "1.0.0"})) is not None:
            store.finish(claimed, JobStatus.SUCCESS, result={})

    return threads * calls / _at_once(threads, work)


def _at_once(threads: int, work: Callable[[], None]) -> float:
    """Return how many seconds it takes until each of so many threads has done it."""
    working = [threading.Thread(target=work) for _ in range(threads)]
    begun = time.perf_counter()
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    return time.perf_counter() - begun


def at_rest(_number: int, calls: int) -> Figures:
    """What a worker with nothing to do asks of PostgreSQL: connections, transactions a second."""
    workers = 3
    with cluster(workers) as (made, store), psycopg.connect(made.postgres.url()) as witness:
        store.close()
        witness.autocommit = True

        def asked() -> tuple[int, int]:
            row = witness.execute(
                "SELECT xact_commit, (SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'toolrunner')"
                " FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
            assert row is not None
            return int(row[0]), int(row[1])

        begun, (before, _) = time.monotonic(), asked()
        time.sleep(calls / 5)
        after, connections = asked()
        seconds = time.monotonic() - begun
    return {
        "connections": connections / workers,
        "per_second": (after - before) / seconds / workers,
    }


def one_of_each(_number: int, calls: int) -> Figures:
    """Jobs a second that one server accepts from four clients, and that one worker runs."""
    body = {"plugin": "text-stats", "payload": {"text": "one two"}}
    with cluster(0, servers=1) as (made, _):
        address = made.servers[0].address

        def leave() -> None:
            with httpx.Client(base_url=address) as client:
                for _ in range(calls):
                    client.post("/v1/jobs", json=body).raise_for_status()

        accepted = 4 * calls / _at_once(4, leave)
    with cluster(1, job_threads=str(os.cpu_count())) as (_, store):
        _run_all(store, [("warming", 0.0)] * 10, "text-stats", {"text": "one two"})
        jobs = _run_all(store, [("", 0.0)] * 4 * calls, "text-stats", {"text": "one two"})
    return {"accepted": accepted, "run": _per_second(jobs)}


def short_jobs(workers: int, calls: int) -> Figures | None:
    """Short jobs a second by so many workers, each held to a share; ``None`` for who may not."""
    if os.geteuid() != 0 or not (_CPU / "cpu.cfs_quota_us").parent.is_dir():
        return None
    with cluster(workers) as (made, store), ExitStack() as stack:
        for number, member in enumerate(made.workers):
            stack.enter_context(_held(member.pid, number))
        _run_all(store, [("warming", 0.0)] * 10 * workers, "text-stats", {"text": "one two"})
        jobs = _run_all(store, [("", 0.0)] * calls, "text-stats", {"text": "one two"})
    return {"per_second": _per_second(jobs)}


def fairness(workers: int, _calls: int) -> Figures:
    """Seconds that jobs of callers with few take beside a caller with many, and without it."""
    light = [(f"light-{number % 2}", number * LIGHT_EVERY) for number in range(LIGHT_JOBS)]
    heavy = [("heavy", 0.0)] * HEAVY_JOBS * workers
    found: Figures = {}
    with cluster(workers) as (_, store):
        _run_all(store, [("warming", 0.0)] * 10 * workers, "nap", {})
        for name, jobs in (("alone", light), ("beside", [*heavy, *light])):
            ended = _run_all(store, jobs, "nap", {})
            waits = [_seconds(job) for job in ended if job.caller != "heavy"]
            found[name] = statistics.median(waits)
            runs = [
                (job.ended_at - job.started_at).total_seconds()
                for job in ended
                if job.ended_at is not None and job.started_at is not None
            ]
            found[f"runs_{name}"] = statistics.median(runs)
    return found


def _run_all(
    store: JobStore, jobs: Sequence[tuple[str, float]], plugin: str, payload: dict[str, Any]
) -> list[Job]:
    """Leave jobs of callers at times, from the first on; return them when all have ended."""
    begun = time.monotonic()
    ids = []
    for caller, at in jobs:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        ids.append(store.add(Submission(plugin, payload, caller=caller))[0].id)
    while counted := store.counts():
        if not counted.get(JobStatus.PENDING) and not counted.get(JobStatus.RUNNING):
            break
        time.sleep(0.2)
    ended = [job for job in map(store.get, ids) if job is not None]
    failed = [job for job in ended if job.status is not JobStatus.SUCCESS]
    if failed or len(ended) < len(ids):
        sys.exit(f"of {len(ids)} jobs {len(ended)} are there, {len(failed)} failed: {failed[:1]}")
    return ended


def _per_second(jobs: Sequence[Job]) -> float:
    ends = [job.ended_at for job in jobs if job.ended_at is not None]
    begun = min(job.started_at for job in jobs if job.started_at is not None)
    return len(jobs) / (max(ends) - begun).total_seconds()


def _seconds(job: Job) -> float:
    assert job.ended_at is not None
    return (job.ended_at - job.created_at).total_seconds()


def _timed(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


@contextmanager
def _held(pid: int, number: int) -> Iterator[None]:
    """Hold a process and all below it to a share of a processor."""
    group = _CPU / f"toolrunner-bench-{os.getpid()}-{number}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(f"{_PERIOD}")
        (group / "cpu.cfs_quota_us").write_text(f"{int(SHARE * _PERIOD)}")
        process = psutil.Process(pid)
        for one in itertools.chain([process], process.children(recursive=True)):
            with suppress(ProcessLookupError):  # it has ended since it was looked for
                (group / "cgroup.procs").write_text(f"{one.pid}")
        yield
    finally:
        # Who is still in it goes back.
        for left in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (_CPU / "cgroup.procs").write_text(left)
        group.rmdir()


PARTS = {
    "accepting": accepting, "database": database, "one_of_each": one_of_each, "at_rest": at_rest,
    "short_jobs": short_jobs, "fairness": fairness,
}  # fmt: skip
