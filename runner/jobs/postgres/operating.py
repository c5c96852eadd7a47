"""What an operator does with jobs in PostgreSQL, of all callers, and which are kept no longer.

Each function is a step of one transaction. What "dead" means stands in ``rules`` and in
``sqlite_operating``: a job is dead while ``dead_bytes`` is not NULL.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolrunner.runner.jobs.chosen import KEPT, beyond, chosen
from toolrunner.runner.jobs.job import Job, JobFilter
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import NOW, SELECT_JOBS, Row
from toolrunner.runner.jobs.postgres.running import wait_again
from toolrunner.runner.jobs.rows import Row as AnyRow
from toolrunner.runner.jobs.rows import job_of

_MARK = "%({})s"


def listed(
    connection: Connection, which: JobFilter, *, limit: int, before: str | None
) -> list[Job]:
    """Return jobs, the newest first; those older than the job ``before``."""
    words, values = chosen(which, limit, before, _MARK)
    return [job_of(row) for row in connection.execute(f"{SELECT_JOBS} {words}", values)]


def bury(connection: Connection, job_id: str, payload_bytes: int) -> None:
    """Let a job that has failed be dead."""
    connection.execute("UPDATE jobs SET dead_bytes = %s WHERE id = %s", (payload_bytes, job_id))


def revive(connection: Connection, queue: JobQueue, row: AnyRow) -> None:
    """Make a dead job PENDING again, with all its retries.

    Whichever version of its plugin there is will do: most are retried after that was mended.
    """
    tag = queue.tag(connection, row["caller"], row["plugin"], None)
    now = connection.execute(
        "UPDATE jobs SET status = 'PENDING', started = NULL, ended = NULL, progress = NULL,"
        " error = NULL, withdrawn = 0, deaths = 0, unbegun = 0,"
        " dead_bytes = NULL, version = NULL, tag = %s"
        " WHERE seq = %s RETURNING *",
        (tag, row["seq"]),
    ).fetchone()
    assert now is not None
    wait_again(connection, queue, now)


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
        f"DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE {KEPT}"  # noqa: S608 - ours
        f" AND ended < {NOW} - %s ORDER BY ended LIMIT %s) RETURNING id, attempts",
        (keep_seconds, at_once),
    ).fetchall()


def too_much(connection: Connection, which: str, weight: str, most: int) -> list[str]:
    """Return the ids of those of such jobs that go, since all of them weigh more than ``most``."""
    query = f"SELECT coalesce(sum({weight}), 0) AS total FROM jobs WHERE {which}"  # noqa: S608 - ours
    all_of_them = connection.execute(query).fetchone()
    if all_of_them is None or all_of_them["total"] <= most:
        return []
    rows = connection.execute(beyond(which, weight, _MARK), {"most": most})
    return [row["id"] for row in rows]


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
