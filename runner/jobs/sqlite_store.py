"""Jobs in an SQLite file of the state folder: the store that needs nothing installed.

One connection a process, in write-ahead mode, so that readers hold up nobody. A change is on disk
before the method that makes it returns. Payloads, results and artifacts are files of their own.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.runner.jobs.artifacts import KeptArtifact
from toolrunner.runner.jobs.files import JobFiles
from toolrunner.runner.jobs.job import (
    Event,
    IdempotencyConflictError,
    Job,
    JobStatus,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.payloads import encode_payload, fingerprint
from toolrunner.runner.jobs.store import Claim
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full, open_database, transaction
from toolrunner.runner.state.leases import Lease
from toolrunner.sandbox import forks
from toolrunner.sandbox.artifacts import Artifact

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  plugin TEXT NOT NULL,
  caller TEXT NOT NULL,
  status TEXT NOT NULL,
  progress REAL,
  created REAL NOT NULL,
  started REAL,
  ended REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL,
  worker TEXT,
  withdrawn INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  result_bytes INTEGER NOT NULL DEFAULT 0,
  idempotency_key TEXT,
  fingerprint TEXT NOT NULL,
  events INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_idempotency
  ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_status ON jobs (status, seq);
CREATE INDEX IF NOT EXISTS jobs_caller ON jobs (caller, seq);
CREATE TABLE IF NOT EXISTS events (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
_BUSY_SECONDS = 20.0
_LEAST_BYTES = 1 << 20  # a disk with less room takes no more jobs soon
# Whose turn it is: the caller, then the plugin, with the fewest running jobs; then the oldest.
_CLAIM = """
UPDATE jobs SET status = 'RUNNING', started = :now, worker = :worker, attempts = attempts + 1
WHERE seq = (
  SELECT waiting.seq FROM jobs AS waiting
  LEFT JOIN (SELECT caller, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY caller)
    AS mine ON mine.caller = waiting.caller
  LEFT JOIN (SELECT plugin, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY plugin)
    AS same ON same.plugin = waiting.plugin
  WHERE waiting.status = 'PENDING'
  ORDER BY coalesce(mine.n, 0), coalesce(same.n, 0), waiting.seq LIMIT 1
) RETURNING *
"""


class SqliteJobStore:
    """Jobs of one state folder; see ``JobStore`` for what each method does."""

    def __init__(
        self,
        folder: Path,
        lease: Lease,
        *,
        max_pending: int,
        keep_seconds: float,
        keep_bytes: int,
    ) -> None:
        """Open the store, or make it. Ended jobs are kept for a time, and up to a size.

        ``lease`` stays with the jobs that this process runs, and says when it is no more.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._max_pending = max_pending
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._folder = folder
        self._files = JobFiles(folder)
        self._lease = lease
        self._begin()
        forks.in_each_child(self, SqliteJobStore._begin)
        self._database = open_database(
            folder / "jobs.sqlite3",
            _SCHEMA,
            version=_VERSION,
            synchronous="FULL",
            busy_seconds=_BUSY_SECONDS,
        )
        self._database.row_factory = sqlite3.Row

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def add(self, submission: Submission) -> tuple[Job, bool]:
        job_id = uuid.uuid4().hex
        try:
            payload = self._files.write_files(job_id, submission.payload)
            data = encode_payload(payload)
            mark = fingerprint(submission.plugin, submission.retries, data)
            known = self._same(submission, mark)
            if known is not None:
                self._files.drop_payload(job_id)
                return known, False
            self._files.write_payload(job_id, data)
            with self._writing() as database:
                known = self._known(database, submission, mark)
                if known is None:
                    self._check_room(database)
                    return self._insert(database, job_id, submission, mark), True
        except BaseException as error:
            self._files.drop_payload(job_id)
            if is_full(error):
                message = "the disk that keeps the jobs is full; try again later"
                details = {"retry_after_seconds": FULL_DISK_SECONDS}
                raise QueueFullError(ErrorType.OVERLOADED, message, details) from error
            raise
        self._files.drop_payload(job_id)
        return known, False

    def get(self, job_id: str) -> Job | None:
        with self._lock:
            row = self._row(job_id)
        return None if row is None else _job(row)

    def of_caller(
        self, caller: str, *, status: JobStatus | None, limit: int, before: str | None
    ) -> list[Job]:
        query = (
            "SELECT * FROM jobs WHERE caller = :caller AND (:status IS NULL OR status = :status)"
            " AND (:before IS NULL OR seq < (SELECT seq FROM jobs WHERE id = :before))"
            " ORDER BY seq DESC LIMIT :limit"
        )
        values = {"caller": caller, "status": status, "before": before, "limit": limit}
        with self._lock:
            return [_job(row) for row in self._database.execute(query, values)]

    def claim(self) -> Claim | None:
        with self._writing() as database:
            row = database.execute(
                _CLAIM, {"now": time.time(), "worker": self._lease.name}
            ).fetchone()
            if row is None:
                return None
            _tell_status(database, row["seq"], JobStatus.RUNNING)
        try:
            return Claim(_job(row), self._files.read_payload(row["id"]))
        except (OSError, ValueError) as error:
            claim = Claim(_job(row), {})
            self.finish(claim, JobStatus.FAILED, error=_unreadable(claim.job, error))
            return self.claim()

    def progress(self, claim: Claim, fraction: float, message: str) -> None:
        with self._writing() as database:
            row = database.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? AND worker = ? AND attempts = ?"
                " AND status = 'RUNNING' RETURNING seq",
                (fraction, claim.job.id, self._lease.name, claim.job.attempts),
            ).fetchone()
            if row is not None:
                _tell(database, row["seq"], "progress", {"fraction": fraction, "message": message})

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        result: dict[str, Any] | None = None,
        artifacts: Sequence[Artifact] = (),
        error: dict[str, Any] | None = None,
    ) -> bool:
        job = claim.job
        size = 0
        if result is not None:
            try:
                size = self._files.write_result(job.id, job.attempts, result, artifacts)
            except OSError as failed:
                raise OSError(failed.errno, failed.strerror, str(self._folder)) from failed
        with self._writing() as database:
            row = database.execute(
                "UPDATE jobs SET status = :status, ended = :now, error = :error, worker = NULL,"
                " result_bytes = :size, progress = iif(:status = 'SUCCESS', 1.0, progress)"
                " WHERE id = :id AND worker = :worker AND attempts = :attempts"
                " AND status = 'RUNNING' RETURNING seq",
                {
                    "status": status,
                    "now": time.time(),
                    "error": None if error is None else json.dumps(error),
                    "size": size,
                    "id": job.id,
                    "worker": self._lease.name,
                    "attempts": job.attempts,
                },
            ).fetchone()
            if row is not None:
                _tell_status(database, row["seq"], status)
        if row is None:
            self._files.drop_result(job.id, job.attempts)
            return False
        with suppress(OSError):  # it has ended; what is left goes with it
            self._files.drop_payload(job.id)
        return True

    def give_back(self, claim: Claim) -> None:
        with self._writing() as database:
            row = database.execute(
                "UPDATE jobs SET status = iif(withdrawn, 'CANCELLED', 'PENDING'), worker = NULL,"
                " ended = iif(withdrawn, :now, NULL), started = NULL, progress = NULL"
                " WHERE id = :id AND worker = :worker AND attempts = :attempts"
                " AND status = 'RUNNING' RETURNING seq, status",
                {
                    "now": time.time(),
                    "id": claim.job.id,
                    "worker": self._lease.name,
                    "attempts": claim.job.attempts,
                },
            ).fetchone()
            if row is not None:
                _tell_status(database, row["seq"], row["status"])

    def cancel(self, job_id: str) -> Job | None:
        with self._writing() as database:
            database.execute(
                "UPDATE jobs SET withdrawn = 1 WHERE id = ? AND status = 'RUNNING'", (job_id,)
            )
            row = database.execute(
                "UPDATE jobs SET status = 'CANCELLED', ended = ? WHERE id = ?"
                " AND status = 'PENDING' RETURNING seq",
                (time.time(), job_id),
            ).fetchone()
            if row is not None:
                _tell_status(database, row["seq"], JobStatus.CANCELLED)
            now = self._row(job_id)
        if row is not None:
            self._files.drop_payload(job_id)
        return None if now is None else _job(now)

    def withdrawn(self) -> set[str]:
        with self._lock:
            rows = self._database.execute(
                "SELECT id FROM jobs WHERE status = 'RUNNING' AND worker = ? AND withdrawn",
                (self._lease.name,),
            )
            return {row["id"] for row in rows}

    def result(self, job_id: str) -> dict[str, Any] | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.read_result(job_id, attempt)

    def artifacts(self, job_id: str) -> list[ArtifactInfo]:
        attempt = self._successful(job_id)
        return [] if attempt is None else self._files.read_artifacts(job_id, attempt)

    def open_artifact(self, job_id: str, name: str) -> KeptArtifact | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.open_artifact(job_id, attempt, name)

    def events(self, job_id: str, after: int) -> list[Event]:
        with self._lock:
            rows = self._database.execute(
                "SELECT number, kind, data FROM events WHERE number > ?"
                " AND job = (SELECT seq FROM jobs WHERE id = ?) ORDER BY number",
                (after, job_id),
            )
            return [Event(row["number"], row["kind"], json.loads(row["data"])) for row in rows]

    def counts(self) -> dict[JobStatus, int]:
        with self._lock:
            rows = self._database.execute("SELECT status, count(*) AS n FROM jobs GROUP BY status")
            found = {JobStatus(row["status"]): int(row["n"]) for row in rows}
        return {status: found.get(status, 0) for status in JobStatus}

    def recover(self, lost: Callable[[Job], dict[str, Any]]) -> int:
        with self._lock:
            query = "SELECT DISTINCT worker FROM jobs WHERE status = 'RUNNING'"
            workers = [row["worker"] for row in self._database.execute(query)]
        dead = [worker for worker in workers if self._lease.is_dead(worker)]
        return sum(self._take_back(worker, lost) for worker in dead)

    def clean(self) -> int:
        with self._writing() as database:
            gone = database.execute(
                "SELECT seq, id, attempts FROM (SELECT seq, id, attempts, ended,"
                " sum(result_bytes) OVER (ORDER BY ended DESC, seq DESC) AS total"
                " FROM jobs WHERE ended IS NOT NULL) WHERE ended < ? OR total > ?",
                (time.time() - self._keep_seconds, self._keep_bytes),
            ).fetchall()
            database.executemany("DELETE FROM jobs WHERE seq = ?", [(row["seq"],) for row in gone])
        for row in gone:
            self._files.drop_payload(row["id"])
            self._files.drop_result(row["id"], row["attempts"])
        self._files.drop_strays(lambda job_id: self.get(job_id) is not None)
        return len(gone)

    def check(self) -> None:
        space = os.statvfs(self._folder)
        if space.f_bavail * space.f_frsize < _LEAST_BYTES or (space.f_files and not space.f_favail):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with self._writing():
                pass
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's one write lock; what is done meanwhile is done whole, or not at all."""
        with self._lock, transaction(self._database) as database:
            yield database

    def _successful(self, job_id: str) -> int | None:
        """Return which attempt of a job has succeeded, ``None`` when none has."""
        job = self.get(job_id)
        return job.attempts if job is not None and job.status is JobStatus.SUCCESS else None

    def _row(self, job_id: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM jobs WHERE id = ?", (job_id,)
        ).fetchone()
        return found

    def _same(self, submission: Submission, mark: str) -> Job | None:
        """Return the job that this submission is a repetition of: before anything is written."""
        with self._lock:
            return self._known(self._database, submission, mark)

    def _known(self, database: sqlite3.Connection, submission: Submission, mark: str) -> Job | None:
        if submission.idempotency_key is None:
            return None
        row = database.execute(
            "SELECT * FROM jobs WHERE caller = ? AND idempotency_key = ?",
            (submission.caller, submission.idempotency_key),
        ).fetchone()
        if row is not None and row["fingerprint"] != mark:
            message = "this Idempotency-Key belongs to a job that asks for something else"
            raise IdempotencyConflictError(message)
        return None if row is None else _job(row)

    def _check_room(self, database: sqlite3.Connection) -> None:
        query = "SELECT count(*) FROM jobs WHERE status = 'PENDING'"
        if database.execute(query).fetchone()[0] >= self._max_pending:
            message = f"{self._max_pending} jobs are waiting already; try again later"
            raise QueueFullError(ErrorType.OVERLOADED, message, {"retry_after_seconds": 5})

    def _insert(
        self, database: sqlite3.Connection, job_id: str, submission: Submission, mark: str
    ) -> Job:
        row = database.execute(
            "INSERT INTO jobs (id, plugin, caller, status, created, retries, idempotency_key,"
            " fingerprint) VALUES (?, ?, ?, 'PENDING', ?, ?, ?, ?) RETURNING *",
            (
                job_id,
                submission.plugin,
                submission.caller,
                time.time(),
                submission.retries,
                submission.idempotency_key,
                mark,
            ),
        ).fetchone()
        _tell_status(database, row["seq"], JobStatus.PENDING)
        return _job(row)

    def _take_back(self, worker: str, lost: Callable[[Job], dict[str, Any]]) -> int:
        ended = []
        with self._writing() as database:
            rows = database.execute(
                "UPDATE jobs SET deaths = deaths + 1, worker = NULL, progress = NULL"
                " WHERE status = 'RUNNING' AND worker = ? RETURNING *",
                (worker,),
            ).fetchall()
            for row in rows:
                status, error = _after_death(row, lost)
                if status.has_ended:
                    ended.append(row["id"])
                database.execute(
                    "UPDATE jobs SET status = ?, error = ?, ended = ?,"
                    " started = iif(?1 = 'PENDING', NULL, started) WHERE seq = ?",
                    (
                        status,
                        None if error is None else json.dumps(error),
                        time.time() if status.has_ended else None,
                        row["seq"],
                    ),
                )
                _tell_status(database, row["seq"], status)
        for row in rows:  # it may have died between its files and the word that it has ended
            self._files.drop_result(row["id"], row["attempts"])
        for job_id in ended:
            self._files.drop_payload(job_id)
        return len(rows)


def _unreadable(job: Job, error: Exception) -> dict[str, Any]:
    message = f"the payload of this job can be read no more: {type(error).__name__}"
    envelope = build_error_envelope(
        ErrorType.INTERNAL_ERROR, message, plugin=job.plugin, call_id=job.id
    )
    return {**envelope["error"]}


def _after_death(
    row: sqlite3.Row, lost: Callable[[Job], dict[str, Any]]
) -> tuple[JobStatus, dict[str, Any] | None]:
    if row["withdrawn"]:
        return JobStatus.CANCELLED, None
    if row["deaths"] <= row["retries"]:
        return JobStatus.PENDING, None
    return JobStatus.FAILED, lost(_job(row))


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        plugin=row["plugin"],
        caller=row["caller"],
        status=JobStatus(row["status"]),
        progress=row["progress"],
        created_at=datetime.fromtimestamp(row["created"], UTC),
        started_at=_time(row["started"]),
        ended_at=_time(row["ended"]),
        attempts=row["attempts"],
        retries=row["retries"],
        error=None if row["error"] is None else json.loads(row["error"]),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _tell_status(database: sqlite3.Connection, seq: int, status: str) -> None:
    _tell(database, seq, "status", {"status": str(status)})


def _tell(
    database: sqlite3.Connection,
    seq: int,
    kind: Literal["progress", "status"],
    data: dict[str, Any],
) -> None:
    number = database.execute(
        "UPDATE jobs SET events = events + 1 WHERE seq = ? RETURNING events", (seq,)
    ).fetchone()[0]
    database.execute(
        "INSERT INTO events (job, number, kind, data) VALUES (?, ?, ?, ?)",
        (seq, number, kind, json.dumps(data)),
    )
