"""What an operator does with jobs, of all callers, and which are kept no longer.

Each function is a step of one transaction. A job is *dead* when it has failed by its plugin's or
the host's fault: it stays, with its payload, until it is run again or purged. ``dead_bytes`` is
what its payload takes; NULL for all others.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from toolrunner.runner.jobs.chosen import KEPT, beyond, chosen
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus
from toolrunner.runner.jobs.rows import job_of
from toolrunner.runner.jobs.sqlite_rows import SELECT_JOBS, tell_status

_MARK = ":{}"


def listed(
    database: sqlite3.Connection, which: JobFilter, *, limit: int, before: str | None
) -> list[Job]:
    """Return jobs, the newest first; those older than the job ``before``."""
    words, values = chosen(which, limit, before, _MARK)
    return [job_of(row) for row in database.execute(f"{SELECT_JOBS} {words}", values)]


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
        f"DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE {KEPT} AND ended < ?"  # noqa: S608 - ours
        " ORDER BY ended LIMIT ?) RETURNING id, attempts",
        (time.time() - keep_seconds, at_once),
    ).fetchall()


def too_much(database: sqlite3.Connection, which: str, weight: str, most: int) -> list[str]:
    """Return the ids of those of such jobs that go, since all of them weigh more than ``most``."""
    query = f"SELECT coalesce(sum({weight}), 0) FROM jobs WHERE {which}"  # noqa: S608 - ours
    if database.execute(query).fetchone()[0] <= most:
        return []
    rows = database.execute(beyond(which, weight, _MARK), {"most": most})
    return [row["id"] for row in rows]


def purge(database: sqlite3.Connection, job_ids: Sequence[str]) -> list[sqlite3.Row]:
    """Delete those that have ended; return the ``id`` and ``attempts`` of each."""
    rows = [
        database.execute(
            "DELETE FROM jobs WHERE id = ? AND ended IS NOT NULL RETURNING id, attempts", (job_id,)
        ).fetchone()
        for job_id in job_ids
    ]
    return [row for row in rows if row is not None]
