"""Kills a cluster's parts while jobs run, and says what was lost or doubled: ``soak.py --cluster``.

Two servers and three workers on one PostgreSQL. Three callers leave jobs, one of them most of all.
Workers, servers and PostgreSQL are killed (SIGKILL) and started anew, PostgreSQL at times read-only
at first, as while another one takes over; one worker is stopped for a while and goes on. When that
comes is drawn from the number of jobs that have ended.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import math
import os
import random
import re
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soak_books
from members.program import ProgramError, children
from members.toolrunners import Toolrunner
from members.whole import Cluster, Plan
from soak_books import Left

from toolrunner.runner.jobs.endings import lost
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.settings.database_url import DatabaseUrl

HEAVY, LIGHT, OPERATOR = "heavy", ("light-1", "light-2"), "operator"
HEAVY_THREADS = 2
JOB_SECONDS = (0.0, 0.1, 0.4)
# So many jobs wait or run when something is killed.
BACKLOG = 40
# Whom a kill is for, one after the other, in another order each time.
TURNS = ("worker", "worker", "server", "postgres")
HEAVY_DELAY = 2.0  # the most by which the heavy caller may delay the others
READ_ONLY_SECONDS, LOOK_SECONDS, PATIENCE_SECONDS = 2.0, 0.1, 300.0
UNAVAILABLE, SERVER_ERROR = 503, 500
ADDED = (200, 202)
PLUGIN = """\
# /// script
# requires-python = ">=3.11"
# [tool.toolrunner]
# name = "slow-echo"
# version = "1.0.0"
# description = "Gives back what it is given, after a while"
# input = "json"
# ///
import time


def run(payload, context):
    context.progress(0.5, "half")
    time.sleep(payload["seconds"])
    if payload["n"] % 10 == 0:
        context.artifact("n.txt", str(payload["n"]).encode(), mime_type="text/plain")
    return {"n": payload["n"]}
"""


@dataclass
class Report:
    """What a soak of a cluster found. ``p50``: seconds of the light callers' jobs, by its parts."""

    seed: int
    seconds: float = 0.0
    jobs: dict[str, int] = field(default_factory=dict)
    attempts_lost: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)
    p50: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, unfair or left over."""
        return not self.wrong and not self.leaked


class Callers:
    """Who leaves jobs, and what they were told. Thread-safe."""

    def __init__(self, servers: Sequence[Toolrunner], tokens: Mapping[str, str], seed: int) -> None:
        """``tokens``: those of all callers."""
        self._servers = servers
        self._tokens = tokens
        self._random = random.Random(seed)  # noqa: S311 - what a job is like is no secret
        self._lock = threading.Lock()
        self._number = 0
        self.gave_up = threading.Event()
        # No more jobs are left than that, for as long as something is to happen while they run.
        self.most = math.inf
        self.left: dict[str, Left] = {}
        self.answers: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def complain(self, words: str) -> None:
        """Note what is wrong."""
        with self._lock:
            self.wrong.append(words)

    def ask(self, caller: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask any server once; return status and document, and 0 for a connection that broke."""
        server = self._random.choice(self._servers)
        address = server.address.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=120)
        headers = {"Authorization": f"Bearer {self._tokens[caller]}"}
        if body is not None:
            headers |= {
                "Content-Type": "application/json",
                "Idempotency-Key": f"{caller} {body}"[:99],
            }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, None  # it was killed
        finally:
            connection.close()
        with self._lock:
            self.answers[f"{method} {answer.status}"] += 1
        if answer.status >= SERVER_ERROR and not (
            answer.status == UNAVAILABLE and answer.getheader("Retry-After")
        ):
            self.complain(f"{method} {path}: {answer.status} {data[:300]!r}")
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(data) if is_json else data.decode()

    def leave(self, caller: str, phase: str) -> str:
        """Leave a job, as often as it takes to be told that it is there; return its id."""
        while self._number >= self.most and not self.gave_up.is_set():
            time.sleep(LOOK_SECONDS)
        with self._lock:
            self._number += 1
            number = self._number
            retries = self._random.choice([0, 1, 3])
            seconds = self._random.choice(JOB_SECONDS)
        payload = {"n": number, "seconds": seconds}
        body = {"payload": payload, "plugin": "slow-echo", "retries": retries}
        status, document = self._until(
            lambda: self.ask(caller, "POST", "/v1/jobs", body), lambda status, _: status in ADDED
        )
        if status not in ADDED:
            self.complain(f"job {number} was not taken: {status} {document}")
            return ""
        with self._lock:
            self.left[document["id"]] = Left(number, caller, retries, phase)
        return str(document["id"])

    def follow(self, caller: str, job: str) -> dict[str, Any]:
        """Wait for the end of a job; return what its caller is told of it."""
        status, document = self._until(
            lambda: self.ask(caller, "GET", f"/v1/jobs/{job}"),
            lambda status, document: status == 404 or (status == 200 and document["ended_at"]),
        )
        if status != 200:
            self.complain(f"job {job} is lost: {status} {document}")
            return {}
        return dict(document)

    def _until(
        self, ask: Callable[[], tuple[int, Any]], is_it: Callable[[int, Any], bool]
    ) -> tuple[int, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            status, document = ask()
            if is_it(status, document):
                return status, document
            if time.monotonic() > deadline or self.gave_up.is_set():
                return 0, document
            time.sleep(LOOK_SECONDS)

    def work(self, caller: str, phase: str, jobs: int, *, follows: bool) -> None:
        """Leave so many jobs; ``follows``: each when the one before has ended."""
        for _ in range(jobs):
            job = self.leave(caller, phase)
            if self.gave_up.is_set():
                return
            if job and follows:
                self.follow(caller, job)

    def check_answers(self) -> None:
        """Hold what a caller is told of each job in the end against what he left."""
        for job, asked in self.left.items():
            document = self.follow(asked.caller, job)
            if document.get("status") != "SUCCESS":
                continue
            if document["attempts"] > asked.retries + 1:
                self.complain(
                    f"job {job}: {document['attempts']} attempts, {asked.retries} retries"
                )
            status, told = self.ask(asked.caller, "GET", f"/v1/jobs/{job}/result")
            if status != 200 or told["result"] != {"n": asked.number}:
                self.complain(f"the result of job {job}: {status} {told}")


class Troubles:
    """What happens to a cluster."""

    def __init__(
        self, cluster: Cluster, callers: Callers, seed: int, *, kills: int, stop_seconds: float
    ) -> None:
        self._cluster = cluster
        self._callers = callers
        self._random = random.Random(seed)  # noqa: S311 - which trouble comes when is no secret
        turns: list[str] = []
        while len(turns) < kills:
            turns += self._random.sample(TURNS, len(TURNS))
        self._turns = turns[:kills]
        self._stop_seconds = stop_seconds
        self._stopped: tuple[float, Toolrunner, list[int]] | None = None
        self.killed: collections.Counter[str] = collections.Counter()

    def run(self, first: int, last: int, is_over: Callable[[], bool]) -> None:
        """Make them, while the number of ended jobs goes from ``first`` to ``last``."""
        when = sorted(self._random.sample(range(first, last), len(self._turns)))
        stop_at: float = when[len(when) // 3] if when and self._stop_seconds else math.inf
        while not is_over() or when or self._stopped is not None:
            now = soak_books.ended(self._cluster.postgres.url())
            if stop_at <= now:
                self._stop()
                stop_at = math.inf
            if self._stopped is not None and time.monotonic() >= self._stopped[0]:
                self._continue()
            if when and (now >= when[0] or is_over()):
                when.pop(0)
                self._kill(self._turns.pop())
            self._callers.most = when[0] + BACKLOG if when else math.inf
            time.sleep(LOOK_SECONDS)

    def _kill(self, what: str) -> None:
        cluster = self._cluster
        if what == "postgres":
            self._kill_postgres()
            return
        stopped = None if self._stopped is None else self._stopped[1]
        members = cluster.servers if what == "server" else cluster.workers
        member = self._random.choice([one for one in members if one is not stopped])
        how = self._random.choice(["machine", "supervisor", "process"])
        self.killed[f"{what}: {how}"] += 1
        with contextlib.ExitStack() as stack:
            family = [*children(member.pid)]
            for one in family:
                stack.callback(os.close, one)
            if how == "process" and family:  # its supervisor starts another one
                signal.pidfd_send_signal(self._random.choice(family), signal.SIGKILL)
                return
            if how == "machine":
                member.kill_all()
            else:  # who is left lets its jobs end
                member.send(signal.SIGKILL)
                member.wait()
            for one in family:
                select.select([one], [], [], PATIENCE_SECONDS)
        member.start()

    def _kill_postgres(self) -> None:
        postgres = self._cluster.postgres
        is_replica_first = self._random.random() < 0.5
        self.killed["postgres: read-only at first" if is_replica_first else "postgres"] += 1
        postgres.send(signal.SIGKILL)
        postgres.wait()
        if is_replica_first:
            self._start_postgres("-c", "default_transaction_read_only=on")
            time.sleep(READ_ONLY_SECONDS)
            postgres.stop()
        self._start_postgres()

    def _start_postgres(self, *options: str) -> None:
        """Start it, once all that a killed one has left is gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._cluster.postgres.start(*options)
            except ProgramError as error:
                if "shared memory" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)
            else:
                return

    def _stop(self) -> None:
        member = self._random.choice(self._cluster.workers)
        family = [*children(member.pid)]
        member.send(signal.SIGSTOP)
        for one in family:
            signal.pidfd_send_signal(one, signal.SIGSTOP)
        self.killed["worker: stopped for a while"] += 1
        self._stopped = (time.monotonic() + self._stop_seconds, member, family)

    def _continue(self) -> None:
        assert self._stopped is not None
        _, member, family = self._stopped
        for one in family:
            signal.pidfd_send_signal(one, signal.SIGCONT)
            os.close(one)
        member.send(signal.SIGCONT)
        self._stopped = None


def soak(
    *, jobs: int, kills: int, stop_seconds: float, seed: int, servers: int = 2, workers: int = 3
) -> Report:
    """Trouble a cluster while so many jobs run; return what was found."""
    report = Report(seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="soak-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may be another user's
        (folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith("TOOLRUNNER_")
        }
        plugins = (str(folder / "plugin.py"),)
        keys = {HEAVY: "caller", **dict.fromkeys(LIGHT, "caller"), OPERATOR: "operator"}
        cluster = Cluster(
            folder, Plan(servers, workers, plugins=plugins, keys=keys, settings=clean)
        )
        try:
            cluster.start()
            print("T", "cluster.start()", time.monotonic() - begun, os.times()[:4], flush=True)
            callers = Callers(cluster.servers, cluster.tokens, seed)
            troubles = Troubles(cluster, callers, seed, kills=kills, stop_seconds=stop_seconds)
            _load(callers, troubles, jobs)
            print(
                "T",
                "_load(callers, troubles, jobs)",
                time.monotonic() - begun,
                os.times()[:4],
                flush=True,
            )
            callers.check_answers()
            print(
                "T", "callers.check_answers()", time.monotonic() - begun, os.times()[:4], flush=True
            )
            _judge(report, cluster, callers)
            print(
                "T",
                "_judge(report, cluster, callers)",
                time.monotonic() - begun,
                os.times()[:4],
                flush=True,
            )
            report.killed = dict(troubles.killed)
            _clear(report, cluster, folder)
            print(
                "T",
                "_clear(report, cluster, folder)",
                time.monotonic() - begun,
                os.times()[:4],
                flush=True,
            )
        finally:
            statuses = cluster.stop()
        report.wrong += [
            f"{name} ended with {status}" for name, status in statuses.items() if status
        ]
        if os.environ.get("SOAK_DEBUG"):
            import shutil

            shutil.copytree(
                folder,
                os.environ["SOAK_DEBUG"],
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("data", ".s.*", "*.sock"),
            )
        for member in cluster.members:
            report.wrong += [f"{member.name}: {end}" for end in _tracebacks(member.log)]
    report.seconds = round(time.monotonic() - begun, 1)
    return report


def _load(callers: Callers, troubles: Troubles, jobs: int) -> None:
    """Leave all jobs: at first without the heavy caller, then with it, then with troubles."""
    few = max(5, jobs // 100)
    each = max(few, jobs // 10)
    heavy = jobs - len(LIGHT) * (few + few + each)
    with _working(callers, [(one, "alone", few, True) for one in LIGHT]) as threads:
        _join(threads)
    shares = [heavy // HEAVY_THREADS, heavy - heavy // HEAVY_THREADS]
    with _working(callers, [(HEAVY, "heavy", share, False) for share in shares]) as heavies:
        with _working(callers, [(one, "together", few, True) for one in LIGHT]) as threads:
            _join(threads)
        with _working(callers, [(one, "troubled", each, True) for one in LIGHT]) as threads:
            everybody = [*heavies, *threads]
            done = len(LIGHT) * (few + few)
            troubles.run(
                done + 1,
                max(done + 2 + len(TURNS), int(jobs * 0.9)),
                lambda: not any(one.is_alive() for one in everybody),
            )


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _working(
    callers: Callers, parts: Sequence[tuple[str, str, int, bool]]
) -> Iterator[list[threading.Thread]]:
    """Have callers leave jobs: name, part of the soak, how many, and whether each is followed."""

    def work(caller: str, phase: str, jobs: int, follows: bool) -> None:
        try:
            callers.work(caller, phase, jobs, follows=follows)
        except Exception as error:  # noqa: BLE001 - a bug of the soak is told as what it is
            callers.complain(f"the soak itself: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=part) for part in parts]
    for thread in threads:
        thread.start()
    try:
        yield threads
    except BaseException:  # a Ctrl-C, or what could not be started again
        callers.gave_up.set()
        raise
    finally:
        _join(threads)


def _judge(report: Report, cluster: Cluster, callers: Callers) -> None:
    """Hold database, blobs, figures and answers against each other."""
    found = soak_books.rows(cluster.postgres.url())
    report.jobs = dict(collections.Counter(row.status for row in found.values()))
    report.attempts_lost = sum(row.deaths for row in found.values())
    report.answers = dict(callers.answers)
    report.wrong += callers.wrong
    report.wrong += soak_books.unbalanced(callers.left, found)
    there = soak_books.blobs(Path(cluster.blobs.removeprefix("file://")))
    gone = soak_books.wanted_blobs(found) - there
    report.wrong += [f"a result is gone: {name}" for name in gone]
    report.wrong += _miscounted(callers, report.jobs)
    for phase in ("alone", "together", "troubled"):
        report.p50[phase] = soak_books.typical_seconds(callers.left, found, LIGHT, phase)
    if report.p50["together"] >= HEAVY_DELAY * report.p50["alone"]:
        report.wrong.append(
            f"the light callers' jobs took {report.p50['together']} s beside the heavy caller's,"
            f" and {report.p50['alone']} s alone"
        )


def _miscounted(callers: Callers, jobs: dict[str, int]) -> Iterator[str]:
    """Yield where a server's figures are not the database's."""
    _, text = callers.ask(OPERATOR, "GET", "/metrics")
    told = re.findall(
        r'^toolrunner_jobs_ended_total\{status="(\w+)"\} ([\d.e+]+)', text or "", re.MULTILINE
    )
    figures = {status: int(float(number)) for status, number in told if float(number)}
    if figures != jobs:
        yield f"/metrics tells of {figures}, and there are {jobs}"


def _clear(report: Report, cluster: Cluster, folder: Path) -> None:
    """Purge everything, end everybody, and see what is left once two hours have gone by."""
    url, place = cluster.postgres.url(), folder / "blobs"
    cluster.run("jobs", "purge", "--all")
    for member in cluster.members:
        member.ask_to_end()
    for member in cluster.members:
        member.wait(PATIENCE_SECONDS)
    soak_books.age(url, place)
    bounds = {"max_pending": 1, "keep_seconds": 1.0, "keep_bytes": 1, "fresh_seconds": 0.0}
    with contextlib.closing(PostgresJobStore(DatabaseUrl(url), place, **bounds)) as store:
        store.recover(lost)  # what those were that were killed last
        store.clean()
    report.leaked += soak_books.left_over(url, place)


def _tracebacks(log: str) -> set[str]:
    """Return what each traceback of a log ends with."""
    return set(re.findall(r"^(?: {4})?(\w[\w.]*(?:Error|Exception)\b.*)", log, re.MULTILINE))


def show(report: Report) -> None:
    """Print a report for a person."""
    print(f"{report.seconds} s, seed {report.seed}, {report.attempts_lost} attempts lost")
    for title, counts in (
        ("jobs", report.jobs),
        ("killed", report.killed),
        ("answers", report.answers),
        ("light callers' p50, s", report.p50),
    ):
        print(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print("wrong: " + ("; ".join(report.wrong[:20]) or "nothing"))
    print("left over: " + ("; ".join(report.leaked) or "nothing"))
