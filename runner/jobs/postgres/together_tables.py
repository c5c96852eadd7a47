"""The tables of what the servers of a cluster have together beside jobs: steps of ``schema``.

Each step makes the next version, in its order. One that was released stays as it is.
"""

from __future__ import annotations

_KEYS = """
-- What many processes know by heart: its number is another one after each change.
CREATE TABLE versions (
  name text PRIMARY KEY,
  number bigint NOT NULL
);
INSERT INTO versions (name, number) VALUES ('keys', 1), ('switches', 1);
CREATE TABLE keys (
  id text PRIMARY KEY,
  name text NOT NULL,
  digest bytea NOT NULL,
  plugins text[],
  per_minute integer,
  role text NOT NULL,
  created double precision NOT NULL,
  revoked double precision
);
"""
_SWITCHES = """
-- The operator's last word on each plugin; one that was never switched has no row.
CREATE TABLE switches (
  plugin text PRIMARY KEY,
  is_suspended boolean NOT NULL,
  number bigint NOT NULL
);
"""
_COUNTS = """
-- Processes that count, with the number of the last batch that is counted.
CREATE TABLE counters (
  process text PRIMARY KEY,
  batch bigint NOT NULL,
  seen timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE in_flight (
  process text NOT NULL REFERENCES counters (process) ON DELETE CASCADE,
  plugin text NOT NULL,
  calls integer NOT NULL,
  PRIMARY KEY (process, plugin)
);
-- Of some processes together, so that not all of them write the same row; the newest times first.
CREATE TABLE counts (
  plugin text NOT NULL,
  part smallint NOT NULL,
  successes bigint NOT NULL,
  errors bigint NOT NULL,
  state text,
  reason text NOT NULL,
  stated double precision,
  last_used double precision,
  failure text,
  failed double precision,
  times_ms bigint[] NOT NULL,
  times_at double precision[] NOT NULL,
  PRIMARY KEY (plugin, part)
);
"""
_RATES = """
-- Worth nothing after a crash: who is new has a full bucket. ``granted`` is what was taken last.
CREATE UNLOGGED TABLE rates (
  key text PRIMARY KEY,
  tokens double precision NOT NULL,
  granted double precision NOT NULL,
  filled double precision NOT NULL
);
"""
_AUDIT = """
CREATE TABLE audit (
  seq bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  process text NOT NULL,
  number bigint NOT NULL,
  host text NOT NULL,
  caller text NOT NULL,
  line text NOT NULL,
  UNIQUE (process, number)
);
CREATE INDEX audit_caller ON audit (caller, seq);
"""
_SESSIONS = """
-- Who has signed in to the page; it is read by the digest of what the browser has.
CREATE TABLE sessions (
  digest bytea PRIMARY KEY,
  key text NOT NULL,
  began double precision NOT NULL,
  seen double precision NOT NULL
);
"""
TOGETHER = (_KEYS, _SWITCHES, _COUNTS, _RATES, _AUDIT, _SESSIONS)
