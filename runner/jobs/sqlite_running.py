"""What becomes of a job from its claim to its end: each function is a step of one transaction.

An end is accepted from the claim that has the job now, told by its process and its number: what
was given up can change nothing any more. ``attempts`` counts claims; those that came to nothing are
counted in ``given_back`` as well. ``begun`` is the last one whose call has begun.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Job, JobStatus
from toolrunner.runner.jobs.rows import DamagedError, Row, job_of, mark_of
from toolrunner.runner.jobs.rules import MOST_UNBEGUN, after_loss
from toolrunner.runner.jobs.sqlite_alone import alone
from toolrunner.runner.jobs.sqlite_rows import tell, tell_status
from toolrunner.runner.jobs.store import Claim

# Of what a process can run, whose turn it is: the caller, then the plugin, with the fewest running
# jobs; then the oldest. Every process asks ten times a second: only those that wait are looked at,
# which SQLite would not do by itself where nobody has counted rows for it (ANALYZE).
NEXT = """
WITH able AS MATERIALIZED (SELECT key, value FROM json_each(:runnable))
SELECT waiting.seq FROM jobs AS waiting INDEXED BY jobs_pending
LEFT JOIN (SELECT caller, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY caller)
  AS mine ON mine.caller = waiting.caller
LEFT JOIN (SELECT plugin, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY plugin)
  AS same ON same.plugin = waiting.plugin
CROSS JOIN able
  ON able.key = waiting.plugin AND able.value = coalesce(waiting.version, able.value)
WHERE waiting.status = 'PENDING'
ORDER BY coalesce(mine.n, 0), coalesce(same.n, 0), waiting.seq LIMIT 1
"""
_TAKE = """
UPDATE jobs SET status = 'RUNNING', started = ?, worker = ?, attempts = attempts + 1
WHERE seq = ? RETURNING *
"""
_LOSE = (
    "UPDATE jobs SET deaths = deaths + 1, worker = NULL, progress = NULL WHERE status = 'RUNNING'"
)
# Of a process that says nothing any more: what it had not begun has lost no attempt.
_OF_WORKER = "status = 'RUNNING' AND worker = :worker"
_TAKE_BACK = f"""
UPDATE jobs SET worker = NULL, progress = NULL,
  deaths = deaths + (begun = attempts OR unbegun >= :most),
  given_back = given_back + (begun <> attempts AND unbegun < :most),
  unbegun = iif(begun = attempts, 0, unbegun + 1)
WHERE {_OF_WORKER}
"""  # noqa: S608 - ours alone


def take(
    database: sqlite3.Connection,
    worker: str,
    runnable: Mapping[str, str],
    damaged: Callable[[Row, str], None],
) -> sqlite3.Row | None:
    """Give the next job that a process can run to it.

    ``damaged`` is given those whose rows allow no such step, and ends them.
    """
    able = {"runnable": json.dumps(dict(runnable))}
    while (found := database.execute(NEXT, able).fetchone()) is not None:
        seq = found["seq"]
        try:
            with alone(database):
                row: sqlite3.Row = database.execute(_TAKE, (time.time(), worker, seq)).fetchone()
                tell_status(database, seq, JobStatus.RUNNING)
            damage = job_of(row).damage
        except DamagedError as error:
            damage = str(error)
            row = database.execute("SELECT * FROM jobs WHERE seq = ?", (seq,)).fetchone()
        if not damage:
            return row
        damaged(row, damage)
    return None


def offer(database: sqlite3.Connection, worker: str, runnable: Mapping[str, str]) -> None:
    """Note what a process can run from now on."""
    database.execute("DELETE FROM offers WHERE worker = ?", (worker,))
    database.executemany(
        "INSERT INTO offers (worker, plugin, version) VALUES (?, ?, ?)",
        [(worker, plugin, version) for plugin, version in runnable.items()],
    )


def begin(database: sqlite3.Connection, claim: Claim, worker: str) -> bool:
    """Note that a job's call begins, if it is still this process's."""
    row = database.execute(
        "UPDATE jobs SET begun = attempts, unbegun = 0 WHERE id = ? AND worker = ? AND attempts = ?"
        " AND status = 'RUNNING' RETURNING seq",
        (claim.job.id, worker, claim.number),
    ).fetchone()
    return row is not None


def note_progress(
    database: sqlite3.Connection, claim: Claim, worker: str, fraction: float, message: str
) -> None:
    """Note how far a job has got."""
    row = database.execute(
        "UPDATE jobs SET progress = ? WHERE id = ? AND worker = ? AND attempts = ?"
        " AND status = 'RUNNING' RETURNING seq",
        (fraction, claim.job.id, worker, claim.number),
    ).fetchone()
    if row is not None:
        tell(database, row["seq"], "progress", {"fraction": fraction, "message": message})


def end(
    database: sqlite3.Connection,
    claim: Claim,
    worker: str,
    status: JobStatus,
    *,
    error: dict[str, Any] | None,
    result_bytes: int,
) -> bool:
    """End a job, if it is still this process's."""
    row = database.execute(
        "UPDATE jobs SET status = :status, ended = :now, error = :error, worker = NULL,"
        " result_bytes = :size, progress = iif(:status = 'SUCCESS', 1.0, progress)"
        " WHERE id = :id AND worker = :worker AND attempts = :attempts"
        " AND status = 'RUNNING' RETURNING seq",
        {
            "status": status,
            "now": time.time(),
            "error": None if error is None else json.dumps(error),
            "size": result_bytes,
            "id": claim.job.id,
            "worker": worker,
            "attempts": claim.number,
        },
    ).fetchone()
    if row is not None:
        tell_status(database, row["seq"], status)
    return row is not None


def put_back(database: sqlite3.Connection, claim: Claim, worker: str) -> None:
    """Make a job PENDING again that has not begun; one that was cancelled meanwhile ends."""
    row = database.execute(
        "UPDATE jobs SET status = iif(withdrawn, 'CANCELLED', 'PENDING'), worker = NULL,"
        " ended = iif(withdrawn, :now, NULL), started = NULL, progress = NULL,"
        " given_back = given_back + 1"
        " WHERE id = :id AND worker = :worker AND attempts = :number"
        " AND status = 'RUNNING' RETURNING seq, status",
        {"now": time.time(), "id": claim.job.id, "worker": worker, "number": claim.number},
    ).fetchone()
    if row is not None:
        tell_status(database, row["seq"], row["status"])


def withdraw(database: sqlite3.Connection, job_id: str, by: CancelledBy) -> bool:
    """Cancel a job: at once if it is waiting, which is returned, and else for its process."""
    database.execute(
        "UPDATE jobs SET withdrawn = ? WHERE id = ? AND NOT withdrawn"
        " AND status IN ('PENDING', 'RUNNING')",
        (mark_of(by), job_id),
    )
    row = database.execute(
        "UPDATE jobs SET status = 'CANCELLED', ended = ? WHERE id = ?"
        " AND status = 'PENDING' RETURNING seq",
        (time.time(), job_id),
    ).fetchone()
    if row is not None:
        tell_status(database, row["seq"], JobStatus.CANCELLED)
    return row is not None


def take_back(
    database: sqlite3.Connection,
    worker: str,
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[sqlite3.Row, JobStatus]]:
    """Take the jobs of a dead process from it; return each with what it is now."""
    database.execute("DELETE FROM offers WHERE worker = ?", (worker,))
    return _take(database, "", {"worker": worker}, lost, damaged)


def take_back_unknown(
    database: sqlite3.Connection,
    worker: str,
    known: Collection[str],
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[sqlite3.Row, JobStatus]]:
    """Take from a living process what it knows nothing of: all but the claims of these marks."""
    which = " AND id || ':' || attempts NOT IN (SELECT value FROM json_each(:known))"
    values = {"worker": worker, "known": json.dumps(list(known))}
    return _take(database, which, values, lost, damaged)


def _take(
    database: sqlite3.Connection,
    which: str,
    values: dict[str, str],
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[sqlite3.Row, JobStatus]]:
    query = f"SELECT * FROM jobs WHERE {_OF_WORKER}{which}"  # noqa: S608 - ours alone
    taken: list[tuple[sqlite3.Row, JobStatus]] = []
    for row in database.execute(query, values).fetchall():
        try:
            with alone(database):
                now: sqlite3.Row = database.execute(
                    f"{_TAKE_BACK} AND seq = :seq RETURNING *",
                    {"most": MOST_UNBEGUN, "worker": values["worker"], "seq": row["seq"]},
                ).fetchone()
                taken.append((now, _after_loss(database, now, lost)))
        except DamagedError as damage:
            damaged(row, str(damage))
            taken.append((row, JobStatus.FAILED))
    return taken


def abandon(
    database: sqlite3.Connection, claim: Claim, worker: str, error: dict[str, Any]
) -> tuple[sqlite3.Row, JobStatus] | None:
    """Give up a job that has begun; return it with what it is now, if it was this process's."""
    row = database.execute(
        f"{_LOSE} AND id = ? AND worker = ? AND attempts = ? RETURNING *",
        (claim.job.id, worker, claim.number),
    ).fetchone()
    return None if row is None else (row, _after_loss(database, row, lambda _job: error))


def _after_loss(
    database: sqlite3.Connection, row: sqlite3.Row, lost: Callable[[Job], dict[str, Any]]
) -> JobStatus:
    """Let a job whose attempt was lost be run again if its ``retries`` allow, and else end."""
    status, error = after_loss(row, lost)
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
    tell_status(database, row["seq"], status)
    return status
