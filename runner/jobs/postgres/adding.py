"""How a submission becomes a job in PostgreSQL: each function is a step of one transaction."""

from __future__ import annotations

from psycopg.pq import TransactionStatus

from toolrunner.runner.jobs.job import Job, Submission
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import NOW, SELECT_JOBS, one, tell_status
from toolrunner.runner.jobs.rows import job_of
from toolrunner.runner.jobs.rules import Room, Waiting, repeated

_INSERT = f"""
INSERT INTO jobs (id, plugin, caller, status, created, retries, idempotency_key, fingerprint,
  version, payload_bytes, traceparent, tag, entry)
VALUES (%(id)s, %(plugin)s, %(caller)s, 'PENDING', {NOW}, %(retries)s, %(key)s, %(mark)s,
  %(version)s, %(payload_bytes)s, %(traceparent)s, %(tag)s, %(entry)s)
"""  # noqa: S608 - ours alone
# Any number that nobody else locks in this database: who adds a job where there is little room.
_ADDING = 0x74726A61
_PENDING = """
SELECT count(*) AS jobs, sum(payload_bytes) AS payload_bytes,
  count(*) FILTER (WHERE caller = %(caller)s) AS own_jobs,
  sum(payload_bytes) FILTER (WHERE caller = %(caller)s) AS own_bytes
FROM jobs WHERE status = 'PENDING'
"""


def known(connection: Connection, submission: Submission, mark: str) -> Job | None:
    """Return the job that this submission is a repetition of."""
    if submission.idempotency_key is None:
        return None
    row = connection.execute(
        f"{SELECT_JOBS} WHERE caller = %s AND idempotency_key = %s",
        (submission.caller, submission.idempotency_key),
    ).fetchone()
    return repeated(row, mark)


def check_room(connection: Connection, room: Room, caller: str, payload_bytes: int) -> None:
    """Raise QueueFullError if no job of a caller with such a payload may wait beside those that do.

    TooLargeError if it never may. In a transaction it holds until that ends: those that come at
    once, each of which sees only what was there before, look one after the other where it matters.
    """
    waiting = _waiting(connection, caller)
    is_adding = connection.info.transaction_status is TransactionStatus.INTRANS
    if is_adding and room.is_near(waiting, payload_bytes):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADDING,))
        waiting = _waiting(connection, caller)
    room.check(waiting, caller, payload_bytes)


def _waiting(connection: Connection, caller: str) -> Waiting:
    row = connection.execute(_PENDING, {"caller": caller}).fetchone()
    assert row is not None
    # As sums they are of a kind without bounds.
    sizes = {name: int(row[name] or 0) for name in ("payload_bytes", "own_bytes")}
    return Waiting(jobs=row["jobs"], own_jobs=row["own_jobs"], **sizes)


def insert(
    connection: Connection,
    queue: JobQueue,
    job_id: str,
    submission: Submission,
    *,
    mark: str,
    payload_bytes: int,
) -> Job:
    """Store a job, as PENDING, with its entry in the queue.

    Raises psycopg's UniqueViolation if another one has had its Idempotency-Key meanwhile.
    """
    tag = queue.tag(connection, submission.caller, submission.plugin, submission.version)
    connection.execute(
        _INSERT,
        {
            "id": job_id,
            "plugin": submission.plugin,
            "caller": submission.caller,
            "retries": submission.retries,
            "key": submission.idempotency_key,
            "mark": mark,
            "version": submission.version,
            "payload_bytes": payload_bytes,
            "traceparent": submission.traceparent,
            "tag": tag,
            "entry": queue.put(connection, job_id, submission.plugin, tag),
        },
    )
    row = one(connection, job_id)
    assert row is not None
    tell_status(connection, row)
    return job_of(row)
