"""Who leaves jobs at a cluster's servers, and what they were told: ``soak.py --cluster``."""

from __future__ import annotations

import collections
import http.client
import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from members.toolrunners import Toolrunner

from chaos.books import Left

JOB_SECONDS = (0.0, 0.1, 0.4)
RETRIES = (0, 1, 3)
LOOK_SECONDS, PATIENCE_SECONDS = 0.1, 300.0
UNAVAILABLE, SERVER_ERROR = 503, 500
ADDED = (200, 202)


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
            retries = self._random.choice(RETRIES)
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
