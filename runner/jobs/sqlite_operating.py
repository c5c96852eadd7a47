"""What an operator does with jobs, of all callers, and which are kept no longer.

Each function is a step of one transaction. A job is *dead* when it has failed by its plugin's or
the host's fault: it stays, with its payload, until it is run again or purged. ``dead_bytes`` is
what its payload takes; NULL for all others.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus
from toolrunner.runner.jobs.rows import job_of
from toolrunner.runner.jobs.sqlite_rows import SELECT_JOBS, tell_status

# Who holds most loses its oldest, until the rest fits: so no caller pushes out what others have.
# ``held`` is what a caller has left once all that are older than this one have gone, so the jobs
# go in its order, the most first.
_BEYOND = """
SELECT id FROM (
  SELECT id, sum(weight) OVER (ORDER BY held, ended DESC, seq DESC) AS total FROM (
    SELECT id, seq, ended, {weight} AS weight,
      sum({weight}) OVER (PARTITION BY caller ORDER BY ended DESC, seq DESC) AS held
    FROM jobs WHERE {which}
  )
) WHERE total > ?
"""
_DEAD = "dead_bytes IS NOT NULL"
_KEPT = "ended IS NOT NULL AND dead_bytes IS NULL"


def listed(
    database: sqlite3.Connection, which: JobFilter, *, limit: int, before: str | None
) -> list[Job]:
    """Return jobs, the newest first; those older than the job ``before``."""
    wanted = {
        "caller = :caller": which.caller is not None,
        "status = :status": which.status is not None,
        "plugin = :plugin": which.plugin is not None,
        "(dead_bytes IS NOT NULL) = :is_dead": which.is_dead is not None,
        "ended < :ended_before": which.ended_before is not None,
        "seq < (SELECT seq FROM jobs WHERE id = :before)": before is not None,
    }
    conditions = " AND ".join(words for words, is_wanted in wanted.items() if is_wanted) or "TRUE"
    values = {
        "caller": which.caller,
        "status": which.status,
        "plugin": which.plugin,
        "is_dead": which.is_dead,
        "ended_before": None if which.ended_before is None else which.ended_before.timestamp(),
        "before": before,
        "limit": limit,
    }
    query = f"{SELECT_JOBS} WHERE {conditions} ORDER BY seq DESC LIMIT :limit"
    return [job_of(row) for row in database.execute(query, values)]


def bury(database: sqlite3.Connection, job_id: str, payload_bytes: int) -> None:
    """Let a job that has failed be dead."""
    database.execute("UPDATE jobs SET dead_bytes = ? WHERE id = ?", (payload_bytes, job_id))


def revive(database: sqlite3.Connection, seq: int) -> None:
    """Make a dead job PENDING again, with all its retries.

    Whichever version of its plugin there is will do: most are retried after that was mended.
    """
    database.execute(
        "UPDATE jobs SET status = 'PENDING', started = NULL, ended = NULL, progress = NULL,"
        " error = NULL, withdrawn = 0, deaths = 0, unbegun = 0, dead_bytes = NULL,"
        " version = NULL"
        " WHERE seq = ?",
        (seq,),
    )
    tell_status(database, seq, JobStatus.PENDING)


def too_many_dead(database: sqlite3.Connection, most: int, most_bytes: int) -> list[str]:
    """Return the ids of those that may be dead no more, as they are too many or too large."""
    beyond = (
        _beyond(database, _DEAD, "1", most),
        _beyond(database, _DEAD, "dead_bytes", most_bytes),
    )
    return list(dict.fromkeys(job_id for ids in beyond for job_id in ids))


def let_rest(database: sqlite3.Connection, job_ids: Sequence[str]) -> list[str]:
    """Let some be dead no more: they are kept as all that have ended.

    Return the ids of those that were: nobody needs their payloads.
    """
    query = "UPDATE jobs SET dead_bytes = NULL WHERE id = ? AND dead_bytes IS NOT NULL RETURNING id"
    rows = [database.execute(query, (job_id,)).fetchone() for job_id in job_ids]
    return [row["id"] for row in rows if row is not None]


def forget_old(
    database: sqlite3.Connection, keep_seconds: float, at_once: int
) -> list[sqlite3.Row]:
    """Delete so many of those that ended too long ago; return ``id`` and ``attempts`` of each."""
    return database.execute(
        f"DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE {_KEPT} AND ended < ?"  # noqa: S608 - ours
        " ORDER BY ended LIMIT ?) RETURNING id, attempts",
        (time.time() - keep_seconds, at_once),
    ).fetchall()


def too_large(database: sqlite3.Connection, most_bytes: int) -> list[str]:
    """Return the ids of those whose results are too large together, the first to go first."""
    return _beyond(database, _KEPT, "result_bytes", most_bytes)


def _beyond(database: sqlite3.Connection, which: str, weight: str, bound: int) -> list[str]:
    """Return the ids of those of such jobs that go, since all of them weigh more than a bound."""
    query = f"SELECT coalesce(sum({weight}), 0) FROM jobs WHERE {which}"  # noqa: S608 - ours
    if database.execute(query).fetchone()[0] <= bound:
        return []
    query = _BEYOND.format(which=which, weight=weight)
    return [row["id"] for row in database.execute(query, (bound,))]


def purge(database: sqlite3.Connection, job_ids: Sequence[str]) -> list[sqlite3.Row]:
    """Delete those that have ended; return the ``id`` and ``attempts`` of each."""
    rows = [
        database.execute(
            "DELETE FROM jobs WHERE id = ? AND ended IS NOT NULL RETURNING id, attempts", (job_id,)
        ).fetchone()
        for job_id in job_ids
    ]
    return [row for row in rows if row is not None]
