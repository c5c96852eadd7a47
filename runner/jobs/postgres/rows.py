"""How jobs and events are read and told of in PostgreSQL: parts of statements that others share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.notices import OF_JOB

Row = dict[str, Any]

NOW = "extract(epoch FROM clock_timestamp())::float8"
# Whether no living process can run a job, which may wait.
NOBODY_RUNS = (
    "NOT EXISTS (SELECT 1 FROM offers WHERE offers.plugin = jobs.plugin"
    " AND offers.version = coalesce(jobs.version, offers.version))"
)
# Whether that is so although some run others: while nobody runs anything, whoever starts may.
IS_STUCK = f"({NOBODY_RUNS} AND EXISTS (SELECT FROM offers))"
_STRANDED = f"status = 'PENDING' AND {NOBODY_RUNS}"
# A job as ``job_of`` wants it: with whether nobody can run it now.
SELECT_JOBS = f"SELECT *, ({_STRANDED}) AS is_stranded FROM jobs"  # noqa: S608 - ours alone
# Since when the oldest job waits, of those that are stuck and of those that are not.
OLDEST_WAITING = (
    f"SELECT {NOW} - min(created) FILTER (WHERE NOT is_stuck) AS pending,"  # noqa: S608 - ours alone
    f" {NOW} - min(created) FILTER (WHERE is_stuck) AS stranded FROM (SELECT created, {IS_STUCK}"
    " AS is_stuck FROM jobs WHERE status = 'PENDING') AS waiting"
)
COUNT_STRANDED = (
    f"SELECT plugin, version, count(*) AS jobs FROM jobs WHERE {_STRANDED}"  # noqa: S608 - same
    " GROUP BY plugin, version"
)


def one(connection: Connection, job_id: str) -> Row | None:
    """Return a job's row, ``None`` when there is none of that id."""
    return connection.execute(f"{SELECT_JOBS} WHERE id = %s", (job_id,)).fetchone()


def tell_status(connection: Connection, row: Row) -> JobStatus:
    """Note that a job has the status now that its row says, for those who follow it."""
    tell(connection, row["seq"], "status", {"status": row["status"]})
    return JobStatus(row["status"])


def tell(
    connection: Connection,
    seq: int,
    kind: Literal["progress", "status"],
    data: Mapping[str, Any],
) -> None:
    """Note what has happened to a job, for those who follow it."""
    connection.execute(
        "WITH told AS (UPDATE jobs SET events = events + 1 WHERE seq = %(seq)s"
        " RETURNING id, events), noted AS (INSERT INTO events (job, number, kind, data)"
        " SELECT %(seq)s, events, %(kind)s, %(data)s FROM told)"
        " SELECT pg_notify(%(channel)s || id, '') FROM told",
        {"seq": seq, "kind": kind, "data": json.dumps(data), "channel": OF_JOB},
    )
