"""Steps of one job, whose row may hold what no step can use: it is that job's trouble alone."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from toolrunner.runner.errors import one_line
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.rows import DamagedError, Row
from toolrunner.runner.jobs.sqlite_rows import tell_status

# Of a STRICT table; Python has no name for it.
_SQLITE_CONSTRAINT_DATATYPE = sqlite3.SQLITE_CONSTRAINT | 12 << 8
# Of the row's own values. Others, as of a trigger, are faults of the file: no job is to blame.
_DAMAGE = {
    _SQLITE_CONSTRAINT_DATATYPE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
}


@contextmanager
def alone(database: sqlite3.Connection) -> Iterator[None]:
    """Do a step of one job within a transaction, or nothing of it.

    Raises DamagedError where its row's values allow none.
    """
    database.execute("SAVEPOINT alone")
    try:
        yield
    except BaseException as error:
        if database.in_transaction:  # else all of it is gone already, as on a full disk
            database.execute("ROLLBACK TO alone")
            database.execute("RELEASE alone")
        if isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorcode in _DAMAGE:
            raise DamagedError(one_line(str(error))) from error
        raise
    database.execute("RELEASE alone")


def set_aside(database: sqlite3.Connection, row: Row, error: dict[str, Any]) -> None:
    """End a job as FAILED, with values that all steps can use."""
    database.execute(
        "UPDATE jobs SET status = 'FAILED', error = :error, ended = :now, worker = NULL,"
        " progress = NULL, created = iif(created BETWEEN 0 AND :now, created, :now),"
        " started = iif(started BETWEEN 0 AND :now, started, NULL), dead_bytes = NULL,"
        " result_bytes = 0 WHERE seq = :seq",
        {"error": json.dumps(error), "now": time.time(), "seq": row["seq"]},
    )
    with suppress(DamagedError), alone(database):
        tell_status(database, row["seq"], JobStatus.FAILED)
