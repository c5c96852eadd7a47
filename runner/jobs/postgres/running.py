"""What becomes of a job in PostgreSQL from its claim to its end.

Each function is a step of one transaction. An end is accepted from the claim that has the job now,
told by its number, which no other claim of the job has or had: what was given up can change nothing
any more. ``attempts`` counts claims; those that came to nothing are counted in ``given_back`` too;
``begun`` is the last one whose call has begun.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Job, JobStatus
from toolrunner.runner.jobs.postgres.alone import alone
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.notices import WITHDRAWN
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import NOW, Row, tell, tell_status
from toolrunner.runner.jobs.rows import DamagedError, job_of, mark_of
from toolrunner.runner.jobs.rules import MOST_UNBEGUN, after_loss
from toolrunner.runner.jobs.store import Claim

# Where few jobs wait, all of them are looked at to find whose turn it is.
_FEW = 1000
ANYTHING_WAITS = (
    f"SELECT count(*) AS jobs FROM (SELECT FROM jobs WHERE status = 'PENDING' LIMIT {_FEW}) AS seen"  # noqa: S608 - ours alone
)
# What a job is left for: a version, which may be "", or any.
_ANY = r"E'\x01'"
_VERSION = f"coalesce(version, {_ANY})"
_ABLE = "unnest(%(plugins)s::text[], %(versions)s::text[]) AS able (plugin, version)"
_ALL = f"""
SELECT waiting.seq FROM jobs AS waiting
JOIN {_ABLE}
  ON able.plugin = waiting.plugin AND able.version = coalesce(waiting.version, able.version)
WHERE waiting.status = 'PENDING' AND waiting.id <> ALL (%(held)s::text[])
"""  # noqa: S608 - ours alone
# Where many do, the first few of each caller's jobs of a plugin alone, found by their index one
# caller and plugin after the other, so that it takes no longer when more wait.
_FIRST_OF_EACH = f"""
SELECT head.seq FROM (
  WITH RECURSIVE lines AS (
    (SELECT caller, plugin, {_VERSION} AS version FROM jobs WHERE status = 'PENDING'
     ORDER BY caller, plugin, {_VERSION} LIMIT 1)
    UNION ALL
    SELECT following.* FROM lines CROSS JOIN LATERAL (
      SELECT caller, plugin, {_VERSION} AS version FROM jobs WHERE status = 'PENDING'
        AND (caller, plugin, {_VERSION}) > (lines.caller, lines.plugin, lines.version)
      ORDER BY caller, plugin, {_VERSION} LIMIT 1
    ) AS following
  )
  SELECT * FROM lines
) AS lines
JOIN {_ABLE}
  ON able.plugin = lines.plugin AND lines.version IN ({_ANY}, able.version)
CROSS JOIN LATERAL (
  SELECT seq FROM jobs WHERE status = 'PENDING' AND caller = lines.caller
    AND plugin = lines.plugin AND {_VERSION} = lines.version
    AND id <> ALL (%(held)s::text[])
  ORDER BY tag, seq LIMIT %(depth)s
) AS head
"""  # noqa: S608 - same
# Of what a process can run, whose turn it is: the caller, then the plugin, with the fewest running
# jobs; then who has had least, then the oldest. What another process takes just now is passed over.
# The counts are looked up in one value each: as a join they may be counted anew for each job.
_CLAIM = """
WITH mine AS MATERIALIZED (
  SELECT jsonb_object_agg(caller, n) AS running FROM
    (SELECT caller, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY caller) AS counted
), same AS MATERIALIZED (
  SELECT jsonb_object_agg(plugin, n) AS running FROM
    (SELECT plugin, count(*) AS n FROM jobs WHERE status = 'RUNNING' GROUP BY plugin) AS counted
), first AS MATERIALIZED ({first}), next AS (
  SELECT waiting.seq FROM first JOIN jobs AS waiting ON waiting.seq = first.seq
  WHERE waiting.status = 'PENDING'
  ORDER BY coalesce(((SELECT running FROM mine) ->> waiting.caller)::bigint, 0),
    coalesce(((SELECT running FROM same) ->> waiting.plugin)::bigint, 0), waiting.tag, waiting.seq
  LIMIT 1 FOR UPDATE OF waiting SKIP LOCKED
), taken AS ({taken})
SELECT taken.*, counted.first FROM (SELECT count(*) AS first FROM first) AS counted
LEFT JOIN taken ON true
"""
_TAKE = (
    f"UPDATE jobs SET status = 'RUNNING', started = {NOW}, worker = %(worker)s,"  # noqa: S608 - ours
    " attempts = attempts + 1{} RETURNING jobs.*"
)
_TAKE_NEXT = _TAKE.format(" FROM next WHERE jobs.seq = next.seq")
_TAKE_ONE = _TAKE.format(" WHERE seq = %(seq)s")
# For who looks first whether it can be taken.
_HOLD_NEXT = "SELECT jobs.* FROM jobs JOIN next ON jobs.seq = next.seq"
# How many of each are looked at: more where others take all of these just now.
_DEPTHS = (4, 256, 2**31 - 1)
_LOSE = (
    "UPDATE jobs SET deaths = deaths + 1, worker = NULL, progress = NULL WHERE status = 'RUNNING'"
)
# Of a process that says nothing any more: what it had not begun has lost no attempt.
_OF_WORKER = "status = 'RUNNING' AND worker = %(worker)s"
_TAKE_BACK = f"""
UPDATE jobs SET worker = NULL, progress = NULL,
  deaths = deaths + (begun = attempts OR unbegun >= %(most)s)::int,
  given_back = given_back + (begun <> attempts AND unbegun < %(most)s)::int,
  unbegun = CASE WHEN begun = attempts THEN 0 ELSE unbegun + 1 END
WHERE {_OF_WORKER}
"""  # noqa: S608 - ours alone
_OF_CLAIM = "id = %(id)s AND attempts = %(number)s AND status = 'RUNNING'"


@dataclass(frozen=True, slots=True)
class Turn:
    """Who takes a job, and which: of what it can run, none whose lost attempt it still runs.

    ``waiting``: what ``ANYTHING_WAITS`` has said.
    """

    worker: str
    runnable: Mapping[str, str]
    held: Collection[str]
    waiting: int

    @property
    def values(self) -> dict[str, Any]:
        """What its statements ask for."""
        return {
            "worker": self.worker,
            "plugins": list(self.runnable),
            "versions": list(self.runnable.values()),
            "held": list(self.held),
        }


def take(connection: Connection, queue: JobQueue, turn: Turn) -> Row | None:
    """Give the next job that a process can run to it; raises DamagedError if it cannot be used."""
    row = _next(connection, _TAKE_NEXT, turn)
    if row is not None:
        if damage := job_of(row).damage:
            raise DamagedError(damage)
        _leave_queue(connection, queue, row)
    return row


def take_sound(
    connection: Connection, queue: JobQueue, turn: Turn, damaged: Callable[[Row, str], None]
) -> Row | None:
    """Do the same where the next job's row allows no such step: ``damaged`` ends those first."""
    while (row := _next(connection, _HOLD_NEXT, turn)) is not None:
        try:
            with alone(connection):
                values = {"worker": turn.worker, "seq": row["seq"]}
                taken = connection.execute(_TAKE_ONE, values).fetchone()
                assert taken is not None
                _leave_queue(connection, queue, taken)
        except DamagedError as damage:
            damaged(row, str(damage))
        else:
            if not (unreadable := job_of(taken).damage):
                return taken
            damaged(taken, unreadable)
    return None


def _next(connection: Connection, taken: str, turn: Turn) -> Row | None:
    """Return the job whose turn it is, by a statement that takes or holds it."""
    is_few = turn.waiting < _FEW
    query = _CLAIM.format(first=_ALL if is_few else _FIRST_OF_EACH, taken=taken)
    for depth in _DEPTHS[:1] if is_few else _DEPTHS:
        row = connection.execute(query, {**turn.values, "depth": depth}).fetchone()
        assert row is not None
        if row["seq"] is not None:
            return row
        if not row["first"]:
            return None
    return None


def _leave_queue(connection: Connection, queue: JobQueue, row: Row) -> None:
    queue.drop(connection, row["entry"])
    tell_status(connection, row)


def offer(connection: Connection, worker: str, runnable: Mapping[str, str]) -> None:
    """Note what a process can run from now on."""
    connection.execute("DELETE FROM offers WHERE worker = %s", (worker,))
    connection.execute(
        "INSERT INTO offers (worker, plugin, version)"
        " SELECT %s, * FROM unnest(%s::text[], %s::text[])"
        # Another thread of the process may say the same.
        " ON CONFLICT (worker, plugin) DO UPDATE SET version = excluded.version",
        (worker, list(runnable), list(runnable.values())),
    )


def begin(connection: Connection, claim: Claim) -> bool:
    """Note that a job's call begins, if it is still this claim's."""
    row = connection.execute(
        f"UPDATE jobs SET begun = attempts, unbegun = 0 WHERE {_OF_CLAIM} RETURNING seq",  # noqa: S608 - ours
        _told_by(claim),
    ).fetchone()
    return row is not None


def note_progress(connection: Connection, claim: Claim, fraction: float, message: str) -> None:
    """Note how far a job has got."""
    row = connection.execute(
        f"UPDATE jobs SET progress = %(fraction)s WHERE {_OF_CLAIM} RETURNING seq",  # noqa: S608 - ours
        {"fraction": fraction, **_told_by(claim)},
    ).fetchone()
    if row is not None:
        tell(connection, row["seq"], "progress", {"fraction": fraction, "message": message})


def end(
    connection: Connection,
    claim: Claim,
    status: JobStatus,
    *,
    error: dict[str, Any] | None,
    result_bytes: int,
) -> bool:
    """End a job, if it is still this claim's."""
    row = connection.execute(
        f"UPDATE jobs SET status = %(status)s, ended = {NOW}, error = %(error)s, worker = NULL,"  # noqa: S608 - ours
        " result_bytes = %(size)s,"
        " progress = CASE WHEN %(status)s = 'SUCCESS' THEN 1.0 ELSE progress END"
        f" WHERE {_OF_CLAIM} RETURNING *",
        {
            "status": str(status),
            "error": None if error is None else json.dumps(error),
            "size": result_bytes,
            **_told_by(claim),
        },
    ).fetchone()
    if row is None:
        return status is JobStatus.SUCCESS and _has_succeeded(connection, claim)
    tell_status(connection, row)
    return True


def _has_succeeded(connection: Connection, claim: Claim) -> bool:
    """Whether this claim's end is written already, by a try whose answer was lost on its way."""
    found = connection.execute(
        "SELECT 1 FROM jobs WHERE id = %(id)s AND attempts = %(number)s AND status = 'SUCCESS'",
        _told_by(claim),
    ).fetchone()
    return found is not None


def put_back(connection: Connection, queue: JobQueue, claim: Claim) -> None:
    """Make a job PENDING again that has not begun; one that was cancelled meanwhile ends."""
    row = connection.execute(
        "UPDATE jobs SET status = CASE WHEN withdrawn <> 0 THEN 'CANCELLED' ELSE 'PENDING' END,"  # noqa: S608 - ours
        f" ended = CASE WHEN withdrawn <> 0 THEN {NOW} END,"
        " worker = NULL, started = NULL, progress = NULL, given_back = given_back + 1"
        f" WHERE {_OF_CLAIM} RETURNING *",
        _told_by(claim),
    ).fetchone()
    if row is not None:
        wait_again(connection, queue, row)


def wait_again(connection: Connection, queue: JobQueue, row: Row) -> JobStatus:
    """Tell what a job is now, and give it an entry in the queue if it is PENDING."""
    if row["status"] == JobStatus.PENDING:
        entry = queue.put(connection, row["id"], row["plugin"], row["tag"])
        connection.execute("UPDATE jobs SET entry = %s WHERE seq = %s", (entry, row["seq"]))
    return tell_status(connection, row)


def withdraw(connection: Connection, queue: JobQueue, job_id: str, by: CancelledBy) -> bool:
    """Cancel a job: at once if it is waiting, which is returned, and else for its process."""
    row = connection.execute(
        "UPDATE jobs SET withdrawn = CASE withdrawn WHEN 0 THEN %s ELSE withdrawn END,"  # noqa: S608 - ours
        f" ended = CASE status WHEN 'PENDING' THEN {NOW} END,"
        " status = CASE status WHEN 'PENDING' THEN 'CANCELLED' ELSE status END"
        " WHERE id = %s AND ended IS NULL RETURNING *",
        (mark_of(by), job_id),
    ).fetchone()
    if row is None:
        return False
    if row["ended"] is None:
        _tell_withdrawn(connection)
        return False
    queue.drop(connection, row["entry"])
    tell_status(connection, row)
    return True


def _tell_withdrawn(connection: Connection) -> None:
    connection.execute("SELECT pg_notify(%s, '')", (WITHDRAWN,))


def take_back(
    connection: Connection,
    queue: JobQueue,
    worker: str,
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[Row, JobStatus]]:
    """Take the jobs of a dead process from it; return each with what it is now.

    ``damaged`` is given those whose rows allow no such step, and ends them.
    """
    return _take(connection, queue, "", {"worker": worker}, lost, damaged)


def take_back_unknown(
    connection: Connection,
    queue: JobQueue,
    worker: str,
    known: Collection[str],
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[Row, JobStatus]]:
    """Take from a living process what it knows nothing of: all but the claims of these marks."""
    which = " AND id || ':' || attempts <> ALL (%(known)s::text[])"
    values = {"worker": worker, "known": list(known)}
    return _take(connection, queue, which, values, lost, damaged)


def _take(
    connection: Connection,
    queue: JobQueue,
    which: str,
    values: dict[str, Any],
    lost: Callable[[Job], dict[str, Any]],
    damaged: Callable[[Row, str], None],
) -> list[tuple[Row, JobStatus]]:
    query = f"SELECT * FROM jobs WHERE {_OF_WORKER}{which} ORDER BY seq FOR UPDATE"  # noqa: S608 - ours
    taken = []
    for row in connection.execute(query, values).fetchall():
        try:
            with alone(connection):
                now = connection.execute(
                    f"{_TAKE_BACK} AND seq = %(seq)s RETURNING *",
                    {"most": MOST_UNBEGUN, "worker": values["worker"], "seq": row["seq"]},
                ).fetchone()
                assert now is not None
                taken.append((now, _after_loss(connection, queue, now, lost)))
        except DamagedError as damage:
            damaged(row, str(damage))
            taken.append((row, JobStatus.FAILED))
    if taken:
        _tell_withdrawn(connection)  # that process too, if it lives after all
    return taken


def abandon(
    connection: Connection, queue: JobQueue, claim: Claim, error: dict[str, Any]
) -> tuple[Row, JobStatus] | None:
    """Give up a job that has begun; return it with what it is now, if it was this claim's."""
    row = connection.execute(f"{_LOSE} AND {_OF_CLAIM} RETURNING *", _told_by(claim)).fetchone()
    if row is None:
        return None
    return row, _after_loss(connection, queue, row, lambda _job: error)


def _after_loss(
    connection: Connection, queue: JobQueue, row: Row, lost: Callable[[Job], dict[str, Any]]
) -> JobStatus:
    """Let a job whose attempt was lost be run again if its ``retries`` allow, and else end."""
    status, error = after_loss(row, lost)
    now = connection.execute(
        "UPDATE jobs SET status = %(status)s, error = %(error)s,"  # noqa: S608 - ours alone
        f" ended = CASE WHEN %(has_ended)s THEN {NOW} END,"
        " started = CASE WHEN %(has_ended)s THEN started END WHERE seq = %(seq)s RETURNING *",
        {
            "status": str(status),
            "error": None if error is None else json.dumps(error),
            "has_ended": status.has_ended,
            "seq": row["seq"],
        },
    ).fetchone()
    assert now is not None
    return wait_again(connection, queue, now)


def _told_by(claim: Claim) -> dict[str, Any]:
    return {"id": claim.job.id, "number": claim.number}
