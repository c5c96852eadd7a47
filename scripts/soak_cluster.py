"""Kills a cluster's parts while jobs run, and says what was lost or doubled: ``soak.py --cluster``.

Two servers and three workers on one PostgreSQL. Three callers leave jobs, one of them most of all.
Workers, servers and PostgreSQL are killed (SIGKILL) and started anew, PostgreSQL at times read-only
at first, as while another one takes over; one worker is stopped for a while and goes on. When that
comes is drawn from the number of jobs that have ended.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos import books
from chaos.callers import PATIENCE_SECONDS, Callers
from chaos.troubles import TURNS, Troubles
from members.whole import Cluster, Plan

from toolrunner.runner.jobs.endings import lost
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.settings.database_url import DatabaseUrl

HEAVY, LIGHT, OPERATOR = "heavy", ("light-1", "light-2"), "operator"
HEAVY_THREADS = 2
HEAVY_DELAY = 2.0  # the most by which the heavy caller may delay the others
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
    unfair: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, unfair or left over."""
        return not self.wrong and not self.unfair and not self.leaked


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
            callers = Callers(cluster.servers, cluster.tokens, seed)
            troubles = Troubles(cluster, callers, seed, kills=kills, stop_seconds=stop_seconds)
            _load(callers, troubles, jobs)
            callers.check_answers()
            _judge(report, cluster, callers)
            report.killed = dict(troubles.killed)
            _clear(report, cluster, folder)
        finally:
            statuses = cluster.stop()
        report.wrong += [
            f"{name} ended with {status}" for name, status in statuses.items() if status
        ]
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
    found = books.rows(cluster.postgres.url())
    report.jobs = dict(collections.Counter(row.status for row in found.values()))
    report.attempts_lost = sum(row.deaths for row in found.values())
    report.answers = dict(callers.answers)
    report.wrong += callers.wrong
    report.wrong += books.unbalanced(callers.left, found)
    there = books.blobs(Path(cluster.blobs.removeprefix("file://")))
    gone = books.wanted_blobs(found) - there
    report.wrong += [f"a result is gone: {name}" for name in gone]
    report.wrong += _miscounted(callers, report.jobs)
    for phase in ("alone", "together", "troubled"):
        report.p50[phase] = books.typical_seconds(callers.left, found, LIGHT, phase)
    if report.p50["together"] >= HEAVY_DELAY * report.p50["alone"]:
        report.unfair.append(
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
    for member in cluster.members:
        member.ask_to_end()
    for member in cluster.members:
        member.wait(PATIENCE_SECONDS)
    books.age(url, place)
    store = PostgresJobStore(
        DatabaseUrl(url), place, max_pending=1, keep_seconds=1.0, keep_bytes=1, fresh_seconds=0.0
    )
    with contextlib.closing(store):
        store.recover(lost)  # what those were that were killed last
        store.purge(list(books.rows(url)))
        store.clean()
    report.leaked += books.left_over(url, place)


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
    print("unfair: " + ("; ".join(report.unfair) or "nothing"))
    print("left over: " + ("; ".join(report.leaked) or "nothing"))
