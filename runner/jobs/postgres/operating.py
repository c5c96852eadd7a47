"""What an operator does with jobs in PostgreSQL, of all callers, and which are kept no longer.

Each function is a step of one transaction. What "dead" means stands in ``rules`` and in
``sqlite_operating``: a job is dead while ``dead_bytes`` is not NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolrunner.runner.jobs.job import Job, JobFilter
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import NOW, SELECT_JOBS, Row
from toolrunner.runner.jobs.postgres.running import wait_again
from toolrunner.runner.jobs.rows import job_of

# Who holds most loses its oldest, until the rest fits: so no caller pushes out what others have.
# ``held`` is what a caller has left once all that are older than this one have gone, so the jobs
# go in its order, the most first.
_BEYOND = """
SELECT id FROM (
  SELECT id, sum(weight) OVER (ORDER BY held, ended DESC, seq DESC) AS total FROM (
    SELECT id, seq, ended, {weight} AS weight,
      sum({weight}) OVER (PARTITION BY caller ORDER BY ended DESC, seq DESC) AS held
    FROM jobs WHERE {which}
  ) AS each
) AS all_of_them WHERE total > %s
"""
_DEAD = "dead_bytes IS NOT NULL"
_KEPT = "ended IS NOT NULL AND dead_bytes IS NULL"


def listed(
    connection: Connection, which: JobFilter, *, limit: int, before: str | None
) -> list[Job]:
    """Return jobs, the newest first; those older than the job ``before``."""
    wanted = {
        "caller = %(caller)s": which.caller is not None,
        "status = %(status)s": which.status is not None,
        "plugin = %(plugin)s": which.plugin is not None,
        "(dead_bytes IS NOT NULL) = %(is_dead)s": which.is_dead is not None,
        "ended < %(ended_before)s": which.ended_before is not None,
        "seq < (SELECT seq FROM jobs WHERE id = %(before)s)": before is not None,
    }
    conditions = " AND ".join(words for words, is_wanted in wanted.items() if is_wanted) or "TRUE"
    values: dict[str, Any] = {
        "caller": which.caller,
        "status": None if which.status is None else str(which.status),
        "plugin": which.plugin,
        "is_dead": which.is_dead,
        "ended_before": None if which.ended_before is None else which.ended_before.timestamp(),
        "before": before,
        "limit": limit,
    }
    query = f"{SELECT_JOBS} WHERE {conditions} ORDER BY seq DESC LIMIT %(limit)s"
    return [job_of(row) for row in connection.execute(query, values)]


def bury(connection: Connection, job_id: str, payload_bytes: int) -> None:
    """Let a job that has failed be dead."""
    connection.execute("UPDATE jobs SET dead_bytes = %s WHERE id = %s", (payload_bytes, job_id))


def revive(connection: Connection, queue: JobQueue, row: Row) -> None:
    """Make a dead job PENDING again, with all its retries.

    Whichever version of its plugin there is will do: most are retried after that was mended.
    """
    tag = queue.tag(connection, row["caller"])
    now = connection.execute(
        "UPDATE jobs SET status = 'PENDING', started = NULL, ended = NULL, progress = NULL,"
        " error = NULL, withdrawn = 0, deaths = 0, unbegun = 0,"
        " dead_bytes = NULL, version = NULL, tag = %s"
        " WHERE seq = %s RETURNING *",
        (tag, row["seq"]),
    ).fetchone()
    assert now is not None
    wait_again(connection, queue, now)


def too_many_dead(connection: Connection, most: int, most_bytes: int) -> list[str]:
    """Return the ids of those that may be dead no more, as they are too many or too large."""
    beyond = (
        _beyond(connection, _DEAD, "1", most),
        _beyond(connection, _DEAD, "dead_bytes", most_bytes),
    )
    return list(dict.fromkeys(job_id for ids in beyond for job_id in ids))


def let_rest(connection: Connection, job_ids: Sequence[str]) -> list[str]:
    """Let some be dead no more: they are kept as all that have ended.

    Return the ids of those that were: nobody needs their payloads.
    """
    rows = connection.execute(
        "UPDATE jobs SET dead_bytes = NULL WHERE id = ANY(%s) AND dead_bytes IS NOT NULL"
        " RETURNING id",
        (list(job_ids),),
    )
    return [row["id"] for row in rows]


def forget_old(connection: Connection, keep_seconds: float, at_once: int) -> list[Row]:
    """Delete so many of those that ended too long ago; return ``id`` and ``attempts`` of each."""
    return connection.execute(
        f"DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE {_KEPT}"  # noqa: S608 - ours
        f" AND ended < {NOW} - %s ORDER BY ended LIMIT %s) RETURNING id, attempts",
        (keep_seconds, at_once),
    ).fetchall()


def too_large(connection: Connection, most_bytes: int) -> list[str]:
    """Return the ids of those whose results are too large together, the first to go first."""
    return _beyond(connection, _KEPT, "result_bytes", most_bytes)


def _beyond(connection: Connection, which: str, weight: str, bound: int) -> list[str]:
    """Return the ids of those of such jobs that go, since all of them weigh more than a bound."""
    query = f"SELECT coalesce(sum({weight}), 0) AS total FROM jobs WHERE {which}"  # noqa: S608 - ours
    all_of_them = connection.execute(query).fetchone()
    if all_of_them is None or all_of_them["total"] <= bound:
        return []
    query = _BEYOND.format(which=which, weight=weight)
    return [row["id"] for row in connection.execute(query, (bound,))]


def purge(connection: Connection, job_ids: Sequence[str]) -> list[Row]:
    """Delete those that have ended; return the ``id`` and ``attempts`` of each."""
    return connection.execute(
        "DELETE FROM jobs WHERE id = ANY(%s) AND ended IS NOT NULL RETURNING id, attempts",
        (list(job_ids),),
    ).fetchall()


def rename_caller(connection: Connection, old: str, new: str) -> None:
    """Give a caller's jobs to another name.

    Of two with one Idempotency-Key the older one's stays where nobody sees it.
    """
    connection.execute(
        "UPDATE jobs SET caller = %(new)s WHERE caller = %(old)s AND NOT EXISTS (SELECT 1"
        " FROM jobs AS others WHERE others.caller = %(new)s"
        " AND others.idempotency_key = jobs.idempotency_key)",
        {"old": old, "new": new},
    )
