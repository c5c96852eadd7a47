"""The tables of jobs in PostgreSQL, and how a database gets them: ``toolrunner migrate``.

They lie in a schema of their own, with Procrastinate's. The database has the names of all steps
that it has gone; a server uses it only if these are the steps that it knows itself.
"""

from __future__ import annotations

import errno
import re
from importlib import resources

from procrastinate.schema import SchemaManager

from toolrunner.runner.jobs.postgres.connections import SCHEMA, Connection, connect, explained
from toolrunner.runner.jobs.postgres.together_tables import TOGETHER
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl

# Each step makes the next version. One that was released stays as it is. Times are seconds since
# 1970 by the database's clock, which is one for all machines.
STEPS = (
    """
CREATE TABLE workers (
  worker text PRIMARY KEY,
  key integer NOT NULL GENERATED ALWAYS AS IDENTITY,
  host text NOT NULL,
  heartbeat timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE jobs (
  seq bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  id text NOT NULL UNIQUE,
  plugin text NOT NULL,
  caller text NOT NULL,
  status text NOT NULL,
  progress double precision,
  created double precision NOT NULL,
  started double precision,
  ended double precision,
  attempts integer NOT NULL DEFAULT 0,
  given_back integer NOT NULL DEFAULT 0,
  deaths integer NOT NULL DEFAULT 0,
  retries bigint NOT NULL,
  worker text,
  withdrawn smallint NOT NULL DEFAULT 0,
  error text,
  result_bytes bigint NOT NULL DEFAULT 0,
  payload_bytes bigint NOT NULL,
  dead_bytes bigint,
  idempotency_key text,
  fingerprint text NOT NULL,
  version text,
  events integer NOT NULL DEFAULT 0,
  tag integer NOT NULL,
  entry bigint
);
CREATE UNIQUE INDEX jobs_idempotency
  ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, seq);
CREATE INDEX jobs_caller ON jobs (caller, seq);
CREATE INDEX jobs_pending ON jobs (caller, tag) INCLUDE (payload_bytes) WHERE status = 'PENDING';
CREATE INDEX jobs_running ON jobs (worker) WHERE status = 'RUNNING';
CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE events (
  job bigint NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  number integer NOT NULL,
  kind text NOT NULL,
  data text NOT NULL,
  PRIMARY KEY (job, number)
);
CREATE TABLE offers (
  worker text NOT NULL REFERENCES workers (worker) ON DELETE CASCADE,
  plugin text NOT NULL,
  version text NOT NULL,
  PRIMARY KEY (worker, plugin)
);
CREATE INDEX offers_plugin ON offers (plugin, version);
CREATE TABLE notes (
  name text PRIMARY KEY,
  value double precision NOT NULL
);
INSERT INTO notes (name, value) VALUES ('made', extract(epoch FROM clock_timestamp()));

-- What tells the jobs of this database from all others, also where it was put back.
CREATE TABLE itself (
  id text NOT NULL
);
INSERT INTO itself (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

-- Jobs that have ended and are here no more, or run again: with those that are here, all that ever
-- have. So an end writes no row that all others write too.
CREATE TABLE ended (
  status text PRIMARY KEY,
  jobs bigint NOT NULL
);
CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ended (status, jobs)
    SELECT status, count(*) FROM gone WHERE ended IS NOT NULL GROUP BY status ORDER BY status
    ON CONFLICT (status) DO UPDATE SET jobs = ended.jobs + excluded.jobs;
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_deleted();
CREATE FUNCTION count_revived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ended (status, jobs) VALUES (OLD.status, 1)
    ON CONFLICT (status) DO UPDATE SET jobs = ended.jobs + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_revived AFTER UPDATE OF ended ON jobs
  FOR EACH ROW WHEN (OLD.ended IS NOT NULL AND NEW.ended IS NULL)
  EXECUTE FUNCTION count_revived();
""",
    # ``begun``: the last claim whose call has begun. ``unbegun``: how often a process has died with
    # the job before that. ``traceparent``: of the request that has left it.
    """
ALTER TABLE jobs
  ADD COLUMN begun integer NOT NULL DEFAULT 0,
  ADD COLUMN unbegun integer NOT NULL DEFAULT 0,
  ADD COLUMN traceparent text NOT NULL DEFAULT '';
UPDATE jobs SET begun = attempts WHERE status = 'RUNNING';
CREATE INDEX jobs_kept ON jobs (ended) INCLUDE (result_bytes)
  WHERE ended IS NOT NULL AND dead_bytes IS NULL;
CREATE INDEX jobs_dead ON jobs (dead_bytes) WHERE dead_bytes IS NOT NULL;
""",
    # What webhooks are told. No foreign key: each end of a job would lock the row of each address.
    """
CREATE TABLE webhooks (
  url text PRIMARY KEY,
  gone double precision,
  rests_until double precision NOT NULL DEFAULT 0
);
CREATE TABLE webhook_secrets (
  url text PRIMARY KEY,
  secrets text[] NOT NULL
);
CREATE TABLE messages (
  seq bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  id text NOT NULL,
  url text NOT NULL,
  job text NOT NULL,
  plugin text NOT NULL,
  status text NOT NULL,
  error text,
  ended double precision NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  due double precision NOT NULL,
  failed double precision,
  reason text,
  UNIQUE (id, url)
);
CREATE INDEX messages_due ON messages (url, due, seq) WHERE failed IS NULL;
CREATE INDEX messages_failed ON messages (url, failed) WHERE failed IS NOT NULL;
CREATE FUNCTION tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messages (id, url, job, plugin, status, error, ended, due)
    SELECT 'msg_' || NEW.id || '_' || NEW.events, url, NEW.id, NEW.plugin, NEW.status, NEW.error,
      NEW.ended, NEW.ended FROM webhooks WHERE gone IS NULL
    ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM pg_notify('toolrunner_messages', '');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_told AFTER UPDATE OF ended ON jobs
  FOR EACH ROW WHEN (OLD.ended IS NULL AND NEW.ended IS NOT NULL)
  EXECUTE FUNCTION tell_webhooks();
""",
    # By which whose turn it is is found without a look at all that waits.
    """
CREATE INDEX jobs_waiting ON jobs (caller, plugin, coalesce(version, E'\\x01'), tag, seq)
  WHERE status = 'PENDING';
""",
    # By which those of one plugin, and the dead ones, are listed without a look at all others.
    """
CREATE INDEX jobs_plugin ON jobs (plugin, seq);
CREATE INDEX jobs_dead_first ON jobs (seq) WHERE dead_bytes IS NOT NULL;
""",
)
# Any number that nobody else locks in this database.
_MIGRATING = 0x746F6F6C
_MIGRATING_SECONDS = 120
_SEEN = "SELECT name FROM steps"


class SchemaError(StoreError):
    """The tables are not those that this toolrunner knows; its words say what to do."""


def migrate(url: DatabaseUrl) -> list[str]:
    """Give a database the tables that this toolrunner needs; return the steps that it had not gone.

    All or none of them, whoever else does the same. Raises StoreError.
    """
    opened = connect(url, statement_seconds=0, lock_timeout=f"{_MIGRATING_SECONDS}s")
    with opened as connection, explained(url), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute("CREATE TABLE IF NOT EXISTS steps (name text PRIMARY KEY)")
        seen = _seen(connection)
        _refuse_newer(url, seen)
        missing = [name for name in _known() if name not in seen]
        queues = _migrations()
        if queues.keys() <= set(missing):  # an empty database: all at once, as it is by now
            connection.execute(SchemaManager.get_schema())
            queues = dict.fromkeys(queues, "")
        scripts = {**queues, **_own()}
        for name in missing:
            if scripts[name]:
                connection.execute(scripts[name])
            connection.execute("INSERT INTO steps (name) VALUES (%s)", (name,))
    return missing


def check(url: DatabaseUrl, connection: Connection) -> None:
    """Raise SchemaError unless a database has the tables that this toolrunner knows."""
    there = connection.execute("SELECT to_regclass('steps') AS steps").fetchone()
    seen = set() if there is None or there["steps"] is None else _seen(connection)
    _refuse_newer(url, seen)
    missing = [name for name in _known() if name not in seen]
    if missing:
        state = f"is older than this toolrunner (no {_few(missing)})" if seen else "is empty"
        message = f"the schema {SCHEMA} of {url} {state}: run `toolrunner migrate`"
        raise SchemaError(errno.EIO, message)


def _refuse_newer(url: DatabaseUrl, seen: set[str]) -> None:
    newer = sorted(seen - set(_known()))
    if newer:
        message = (
            f"the schema {SCHEMA} of {url} is newer than this toolrunner (it has {_few(newer)}):"
            " install here what `toolrunner migrate` was run by last, with its extra `cluster`"
        )
        raise SchemaError(errno.EIO, message)


def _few(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def _seen(connection: Connection) -> set[str]:
    return {row["name"] for row in connection.execute(_SEEN)}


def _known() -> list[str]:
    return [*_migrations(), *_own()]


def _own() -> dict[str, str]:
    jobs = {f"jobs {number}": step for number, step in enumerate(STEPS, 1)}
    return jobs | {f"together {number}": step for number, step in enumerate(TOGETHER, 1)}


def _migrations() -> dict[str, str]:
    """Return the steps of the installed Procrastinate, in their order, with their scripts."""
    folder = resources.files("procrastinate.sql") / "migrations"
    found = {
        f"procrastinate {file.name.removesuffix('.sql')}": file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if re.fullmatch(r"\d\d\.\d\d\.\d\d_.*\.sql", file.name)
    }
    return dict(sorted(found.items()))
