"""How a submission becomes a job: each function is a step of one transaction."""

from __future__ import annotations

import sqlite3
import time

from toolrunner.runner.jobs.job import Job, JobStatus, Submission
from toolrunner.runner.jobs.rows import job_of
from toolrunner.runner.jobs.rules import Room, Waiting, repeated
from toolrunner.runner.jobs.sqlite_rows import SELECT_JOBS, tell_status


def known(database: sqlite3.Connection, submission: Submission, mark: str) -> Job | None:
    """Return the job that this submission is a repetition of."""
    if submission.idempotency_key is None:
        return None
    row = database.execute(
        f"{SELECT_JOBS} WHERE caller = ? AND idempotency_key = ?",
        (submission.caller, submission.idempotency_key),
    ).fetchone()
    return repeated(row, mark)


_PENDING = """
SELECT count(*), CAST(total(payload_bytes) AS INTEGER),
  count(*) FILTER (WHERE caller = ?1),
  CAST(total(payload_bytes) FILTER (WHERE caller = ?1) AS INTEGER)
FROM jobs WHERE status = 'PENDING'
"""


def check_room(database: sqlite3.Connection, room: Room, caller: str, payload_bytes: int) -> None:
    """Raise QueueFullError if no job of a caller with such a payload may wait beside those that do.

    TooLargeError if it never may.
    """
    row = database.execute(_PENDING, (caller,)).fetchone()
    room.check(Waiting(*row), caller, payload_bytes)


def insert(
    database: sqlite3.Connection, job_id: str, submission: Submission, mark: str, payload_bytes: int
) -> Job:
    """Store a job, as PENDING."""
    row = database.execute(
        "INSERT INTO jobs (id, plugin, caller, status, created, retries, idempotency_key,"
        " fingerprint, version, payload_bytes, traceparent)"
        " VALUES (?, ?, ?, 'PENDING', ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (
            job_id,
            submission.plugin,
            submission.caller,
            time.time(),
            submission.retries,
            submission.idempotency_key,
            mark,
            submission.version,
            payload_bytes,
            submission.traceparent,
        ),
    ).fetchone()
    tell_status(database, row["seq"], JobStatus.PENDING)
    return job_of(database.execute(f"{SELECT_JOBS} WHERE id = ?", (job_id,)).fetchone())
