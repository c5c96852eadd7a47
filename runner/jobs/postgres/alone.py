"""Steps of one job, whose row may hold what no step can use: it is that job's trouble alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.errors import UniqueViolation

from toolrunner.runner.errors import one_line
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.notices import OF_JOB
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import NOW, tell_status
from toolrunner.runner.jobs.rows import DamagedError
from toolrunner.runner.jobs.rows import Row as AnyRow

# Of the row's own values. Others, as of a constraint that somebody has added, are faults of the
# database: no job is to blame.
_DAMAGE = psycopg.DataError | UniqueViolation
# No counter is counted on, and what is no time becomes one, or none.
_SET_ASIDE = f"""
UPDATE jobs SET status = 'FAILED', error = %(error)s, ended = {NOW}, worker = NULL, progress = NULL,
  created = CASE WHEN created BETWEEN 0 AND {NOW} THEN created ELSE {NOW} END,
  started = CASE WHEN started BETWEEN 0 AND {NOW} THEN started END,
  entry = NULL, dead_bytes = NULL, result_bytes = 0
WHERE seq = %(seq)s RETURNING *
"""  # noqa: S608 - ours alone


@contextmanager
def damage_told() -> Iterator[None]:
    """Turn what a row's values have PostgreSQL refuse into a DamagedError."""
    try:
        yield
    except (ConnectorException, psycopg.Error) as error:
        cause = error.__cause__ if isinstance(error, ConnectorException) else error
        if not isinstance(cause, _DAMAGE):
            raise
        raise DamagedError(one_line(cause.diag.message_primary or str(cause))) from error


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Do a step of one job within a transaction, or nothing of it; raises DamagedError."""
    with damage_told(), connection.transaction():
        yield


def set_aside(connection: Connection, queue: JobQueue, row: AnyRow, error: dict[str, Any]) -> None:
    """End a job as FAILED, with values that all steps can use."""
    values = {"seq": row["seq"], "error": json.dumps(error)}
    now = connection.execute(_SET_ASIDE, values).fetchone()
    assert now is not None
    with suppress(DamagedError), alone(connection):
        queue.drop(connection, row["entry"])
    with suppress(DamagedError), alone(connection):
        tell_status(connection, now)
    connection.execute("SELECT pg_notify(%s, '')", (OF_JOB + row["id"],))
