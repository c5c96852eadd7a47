"""Troubles a server for a while, and says what was lost, doubled or left over: ``soak.py --serve``.

Clients analyze and leave jobs at ``toolrunner serve`` with two workers, while at random a worker is
killed, the disk of the state folder is full for a moment, the server is sent SIGHUP, or the
clients' key is revoked and another one made. For root the state folder is a small disk of its own,
in a mount namespace that ends with the program; for others nothing is filled.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from toolrunner.api.keys import KeyStore
from toolrunner.sandbox.limits import MIB

ROOT = Path(__file__).resolve().parent.parent
INSIDE = "SOAK_HAS_A_DISK"
DISK_MB = 192  # an hour's jobs and audit log are a third of it
# Every job is asked for at the end, however long it takes until then.
KEPT = {"TOOLRUNNER_KEEP_HOURS": "48", "TOOLRUNNER_KEEP_MB": "4"}
WORKERS = 2
CLIENTS = 4
NAME = "soak"
JOB_SHARE = 0.3
FULL_SECONDS = 2.0
TROUBLE_SECONDS = (2.0, 6.0)
PATIENCE_SECONDS = 120.0
# What a process may grow by for other reasons than requests, and beyond the first minute's caches.
MEMORY_SLACK_BYTES, DESCRIPTOR_SLACK = 64 * MIB, 16
UNAVAILABLE, UNAUTHORIZED, SERVER_ERROR = 503, 401, 500
_FULL = re.compile(r"disk is full|No space left on device|disk I/O error")
ECHO = """\
# /// script
# requires-python = ">=3.11"
# [tool.toolrunner]
# name = "echo"
# version = "1.0.0"
# description = "Gives back what it is given"
# input = "json"
# ///
import time


def run(payload):
    time.sleep(payload["seconds"])
    return {"n": payload["n"]}
"""


@dataclass
class Report:
    """What a soak of a server found."""

    seed: int
    seconds: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or left over."""
        return not self.wrong and not self.leaked


def with_a_disk(arguments: list[str]) -> list[str]:
    """Return what starts this program where it may mount a disk; [] where that is refused."""
    if os.geteuid() != 0:  # mount(8) is root's
        return []
    prefix = ["unshare", "--mount"]
    try:
        done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    return [*prefix, sys.executable, *arguments] if done.returncode == 0 else []


class Server:
    """A server that is troubled, and how it stands."""

    def __init__(self, folder: Path, state: Path) -> None:
        self._log = folder / "log"
        self.state = state
        (folder / "echo.py").write_text(ECHO, encoding="utf-8")
        self.keys = KeyStore(state)
        self.token = self.keys.create(NAME)[1]
        self._out = self._log.open("wb")
        command = [sys.executable, "-P", "-m", "toolrunner", "serve", "--keys", "--port", "0"]
        command += ["--workers", str(WORKERS), "--state", str(state)]
        self.process = subprocess.Popen(
            [*command, "--plugins", str(folder / "echo.py")],
            stderr=self._out,
            env={**os.environ, "PYTHONPATH": str(ROOT), **KEPT},
            start_new_session=True,  # a Ctrl-C is for the soak
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log)
            time.sleep(0.05)
        self.port = int(found[1])

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text("utf-8", "replace")

    def workers(self) -> list[psutil.Process]:
        """Return the workers that have said that they are ready, and live."""
        if self.process.poll() is not None:
            return []
        said = re.findall(r"worker \d+ \(process (\d+)\) is ready", self.log)
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if str(child.pid) in said]

    def figures(self) -> tuple[int, int, int]:
        """Return the descriptors, the memory and the number of its own processes, without boxes."""
        if self.process.poll() is not None:
            return 0, 0, 0
        own = [psutil.Process(self.process.pid), *self.workers()]
        memory = sum(process.memory_info().rss for process in own)
        return sum(process.num_fds() for process in own), memory, len(own)

    def end(self) -> int:
        """End it; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_SECONDS)
        self._out.close()
        self.keys.close()
        return status


class Soak:
    """The clients, the troubles, and what came of both."""

    def __init__(self, server: Server, seed: int, *, can_fill: bool) -> None:
        self._server = server
        self._random = random.Random(seed)  # noqa: S311 - which trouble comes when is no secret
        self._can_fill = can_fill
        self._lock = threading.Lock()
        self._number = 0
        self._is_over = threading.Event()
        self.answers: collections.Counter[str] = collections.Counter()
        self.troubles: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.accepted: dict[str, int] = {}
        self.dead: set[str] = set()

    def run(self, seconds: float) -> None:
        """Do it all for so long."""
        clients = [threading.Thread(target=self._guarded(self._client)) for _ in range(CLIENTS)]
        clients.append(threading.Thread(target=self._guarded(self._trouble)))
        for thread in clients:
            thread.start()
        with contextlib.suppress(KeyboardInterrupt):  # what was found until now is told
            self._is_over.wait(seconds)
        self._is_over.set()
        for thread in clients:
            thread.join()

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a bug of the soak is told as what it is
                self._complain(f"the soak itself: {type(error).__name__}: {error}")
                self._is_over.set()

        return run

    def _complain(self, words: str) -> None:
        with self._lock:
            self.wrong.append(words)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask once; return status and document, and 0 for a connection that was broken."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=120)
        headers = {
            "Authorization": f"Bearer {self._server.token}",
            "Content-Type": "application/json",
        }
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, None  # its worker was killed
        finally:
            connection.close()
        status = answer.status
        if status >= SERVER_ERROR and not (
            status == UNAVAILABLE and answer.getheader("Retry-After")
        ):
            self._complain(f"{method} {path}: {status} {data[:300]!r}")
        try:
            return status, json.loads(data)
        except ValueError:
            self._complain(f"{method} {path}: {status}, not JSON: {data[:300]!r}")
            return status, None

    def _client(self) -> None:
        while not self._is_over.is_set():
            with self._lock:
                self._number += 1
                number = self._number
                is_job = self._random.random() < JOB_SHARE
                seconds = self._random.choice([0, 0, 0.05, 0.5])
            body = {"plugin": "echo", "payload": {"n": number, "seconds": seconds}}
            status, document = self.ask("POST", "/v1/jobs" if is_job else "/v1/analyze", body)
            what = "jobs" if is_job else "analyze"
            with self._lock:
                self.answers[f"{what} {status or 'broken off'}"] += 1
                if status == 202:
                    self.accepted[document["id"]] = number
            if status == 200 and document["result"] != {"n": number}:
                self._complain(f"asked for {number}, and got {document}")
            if status in {0, UNAVAILABLE, UNAUTHORIZED}:
                self._is_over.wait(0.2)

    def _trouble(self) -> None:
        choices = [self._kill, self._reload, self._change_key]
        if self._can_fill:
            choices.append(self._fill)
        while not self._is_over.wait(self._random.uniform(*TROUBLE_SECONDS)):
            trouble = self._random.choice(choices)
            trouble()
            self.troubles[trouble.__name__.strip("_")] += 1

    def _kill(self) -> None:
        if workers := self._server.workers():
            self._random.choice(workers).kill()

    def _reload(self) -> None:
        if self._server.process.poll() is None:
            self._server.process.send_signal(signal.SIGHUP)

    def _change_key(self) -> None:
        with contextlib.suppress(OSError, sqlite3.Error):  # a full disk lets nothing be changed
            self._server.keys.revoke(NAME)
            self._server.token = self._server.keys.create(NAME)[1]

    def _fill(self) -> None:
        ballast = self._server.state / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for _ in range(DISK_MB + 1):
                    file.write(bytes(MIB))
            self._is_over.wait(FULL_SECONDS)
        finally:
            ballast.unlink(missing_ok=True)

    def settle(self) -> dict[str, int]:
        """Wait until every job has ended; return how many ended how, and note what is wrong."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        ended: collections.Counter[str] = collections.Counter()
        for job, number in self.accepted.items():
            while True:
                status, document = self.ask("GET", f"/v1/jobs/{job}")
                if status == 200 and document["ended_at"]:
                    break
                if time.monotonic() > deadline or status == 404:
                    break
                time.sleep(0.1)
            if status != 200 or not document["ended_at"]:
                self._complain(f"job {job} is lost: {status} {document}")
                continue
            ended[document["status"]] += 1
            if document.get("dead"):
                self.dead.add(job)
            if document["attempts"] > 1:
                self._complain(f"job {job} was run {document['attempts']} times")
            if document["status"] == "SUCCESS":
                status, document = self.ask("GET", f"/v1/jobs/{job}/result")
                if status != 200 or document["result"] != {"n": number}:
                    self._complain(f"the result of job {job}: {status} {document}")
        return dict(ended)


@contextlib.contextmanager
def _state(*, is_small: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        state = Path(name) / "state"
        state.mkdir(mode=0o700)
        if is_small:
            disk = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "none", str(state)]
            subprocess.run(disk, check=True)
        try:
            yield state
        finally:
            if is_small:
                subprocess.run(["umount", "--lazy", str(state)], check=False)


def soak(*, seconds: float, seed: int) -> Report:
    """Trouble a server for so long; return what was found."""
    report = Report(seed)
    can_fill = os.environ.get(INSIDE) == "1"
    begun = time.monotonic()
    with _state(is_small=can_fill) as state:
        server = Server(state.parent, state)
        try:
            work = Soak(server, seed, can_fill=can_fill)
            nothing = {"plugin": "echo", "payload": {"n": 0, "seconds": 0}}
            for _ in range(50):  # what a server makes once
                work.ask("POST", "/v1/analyze", nothing)
            before = server.figures()
            work.run(seconds)
            if server.process.poll() is None:
                report.jobs = work.settle()
            has_ended, after = server.process.poll() is not None, _settled(server)
        finally:
            status = server.end()
        if has_ended or status != 0:
            when = "by itself, " if has_ended else ""
            report.wrong.append(f"the server ended {when}with {status}: {server.log[-3000:]}")
        # What each traceback ends with: a full disk is told of with where it was met.
        ends = set(re.findall(r"^ {4}(\w[\w.]*(?:Error|Exception)\b.*)", server.log, re.MULTILINE))
        report.wrong += [f"a traceback: {end}" for end in ends if not _FULL.search(end)]
        report.leaked += _grown(before, after)
        left = [path for folder in ("payloads",) for path in (state / folder).glob("*")]
        left = [path for path in left if path.name not in work.dead]  # those may be run again
        # Who is killed between a payload and its job leaves one, which goes after an hour.
        if len(left) > work.troubles["kill"]:
            report.leaked += [f"a payload of no job: {path.name}" for path in left[:5]]
    report.seconds = round(time.monotonic() - begun, 1)
    report.answers, report.troubles = dict(work.answers), dict(work.troubles)
    report.wrong += work.wrong
    return report


def _settled(server: Server) -> tuple[int, int, int]:
    """Return the figures once all workers are there again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(server.workers()) < WORKERS and time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(1)
    return server.figures()


def _grown(before: tuple[int, int, int], after: tuple[int, int, int]) -> Iterator[str]:
    if after[2] != before[2]:
        yield f"{after[2]} processes, and there were {before[2]}"
    if after[0] > before[0] + DESCRIPTOR_SLACK:
        yield f"{after[0]} descriptors, and there were {before[0]}"
    if after[1] > before[1] + MEMORY_SLACK_BYTES:
        yield f"{after[1] / MIB:.0f} MiB, and it was {before[1] / MIB:.0f}"


def show(report: Report) -> None:
    """Print a report for a person."""
    print(f"{report.seconds} s, seed {report.seed}")
    for title, counts in (
        ("answers", report.answers),
        ("troubles", report.troubles),
        ("jobs", report.jobs),
    ):
        print(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print("wrong: " + ("; ".join(report.wrong[:20]) or "nothing"))
    print("left over: " + ("; ".join(report.leaked) or "nothing"))
