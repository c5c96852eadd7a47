"""What is in the SQLite file of jobs: its tables, and what each event of a job is written with."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Literal

from toolrunner.runner.webhooks import sqlite_outbox

# Each step makes the next version of the file. One that was released stays as it is.
STEPS = (
    """
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  plugin TEXT NOT NULL,
  caller TEXT NOT NULL,
  status TEXT NOT NULL,
  progress REAL,
  created REAL NOT NULL,
  started REAL,
  ended REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL,
  worker TEXT,
  withdrawn INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  result_bytes INTEGER NOT NULL DEFAULT 0,
  idempotency_key TEXT,
  fingerprint TEXT NOT NULL,
  events INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency
  ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, seq);
CREATE INDEX jobs_caller ON jobs (caller, seq);
CREATE TABLE events (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
""",
    # ``version``: of the plugin, as it was asked for; NULL where nobody has said. ``given_back``:
    # how many claims came to nothing. ``offers``: what each living process can run.
    """
ALTER TABLE jobs ADD COLUMN version TEXT;
ALTER TABLE jobs ADD COLUMN given_back INTEGER NOT NULL DEFAULT 0;
CREATE TABLE offers (
  worker TEXT NOT NULL,
  plugin TEXT NOT NULL,
  version TEXT NOT NULL,
  PRIMARY KEY (worker, plugin)
) STRICT, WITHOUT ROWID;
CREATE INDEX offers_plugin ON offers (plugin, version);
CREATE TABLE notes (
  name TEXT PRIMARY KEY,
  value REAL NOT NULL
) STRICT, WITHOUT ROWID;
""",
    # ``dead_bytes``: what the payload of a dead job takes; NULL for all others.
    f"""
ALTER TABLE jobs ADD COLUMN dead_bytes INTEGER;
{sqlite_outbox.STEP}""",
    # How many jobs have ended, also of those that are kept no longer.
    """
CREATE TABLE ended (
  status TEXT PRIMARY KEY,
  jobs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_counted AFTER UPDATE OF status ON jobs
  WHEN NEW.ended IS NOT NULL AND NEW.status <> OLD.status
BEGIN
  INSERT INTO ended (status, jobs) VALUES (NEW.status, 1)
    ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
END;
""",
    # ``payload_bytes``: what a job's payload takes with its files; 0 for those from before.
    """
ALTER TABLE jobs ADD COLUMN payload_bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_pending ON jobs (status, payload_bytes) WHERE status = 'PENDING';
""",
    # ``begun``: the last claim whose call has begun. ``unbegun``: how often a process has died with
    # the job before that. ``traceparent``: of the request that has left it.
    """
ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN unbegun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
UPDATE jobs SET begun = attempts WHERE status = 'RUNNING';
CREATE INDEX jobs_kept ON jobs (ended, result_bytes) WHERE ended IS NOT NULL AND dead_bytes IS NULL;
CREATE INDEX jobs_dead ON jobs (dead_bytes) WHERE dead_bytes IS NOT NULL;
""",
    sqlite_outbox.RESTING_STEP,
    # By which those of one plugin, and the dead ones, are listed without a look at all others.
    """
CREATE INDEX jobs_plugin ON jobs (plugin, seq);
CREATE INDEX jobs_dead_first ON jobs (seq) WHERE dead_bytes IS NOT NULL;
""",
)
_STRANDED = (
    "status = 'PENDING' AND NOT EXISTS (SELECT 1 FROM offers WHERE offers.plugin = jobs.plugin"
    " AND offers.version = coalesce(jobs.version, offers.version))"
)
# A job as ``job_of`` wants it: with whether nobody can run it now.
SELECT_JOBS = f"SELECT *, {_STRANDED} AS is_stranded FROM jobs"  # noqa: S608 - ours alone
# Since when the oldest job waits: of those that nobody can run although some run others, and of all
# else.
OLDEST_WAITING = f"""
SELECT min(iif(is_stuck, NULL, created)) AS pending, min(iif(is_stuck, created, NULL)) AS stranded
FROM (SELECT created, {_STRANDED} AND EXISTS (SELECT 1 FROM offers) AS is_stuck FROM jobs
  WHERE status = 'PENDING')
"""  # noqa: S608 - ours alone
COUNT_STRANDED = (
    f"SELECT plugin, version, count(*) AS jobs FROM jobs WHERE {_STRANDED}"  # noqa: S608 - same
    " GROUP BY plugin, version"
)


def tell_status(database: sqlite3.Connection, seq: int, status: str) -> None:
    """Note that a job has a status now, for those who follow it."""
    tell(database, seq, "status", {"status": str(status)})


def tell(
    database: sqlite3.Connection,
    seq: int,
    kind: Literal["progress", "status"],
    data: dict[str, Any],
) -> None:
    """Note what has happened to a job, for those who follow it."""
    number = database.execute(
        "UPDATE jobs SET events = events + 1 WHERE seq = ? RETURNING events", (seq,)
    ).fetchone()[0]
    database.execute(
        "INSERT INTO events (job, number, kind, data) VALUES (?, ?, ?, ?)",
        (seq, number, kind, json.dumps(data)),
    )
