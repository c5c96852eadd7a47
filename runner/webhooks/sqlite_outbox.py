"""What has to be posted, in two tables of the SQLite file of the jobs; a trigger writes it.

See ``Outbox`` for what each method does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from sqlite3 import Connection
from typing import Protocol

from toolrunner.runner.webhooks import outbox
from toolrunner.runner.webhooks.outbox import AddressStatus, Delivery, delivery_of, status_of

STEP = """
CREATE TABLE webhooks (
  url TEXT PRIMARY KEY,
  gone REAL
) STRICT, WITHOUT ROWID;
CREATE TABLE messages (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  url TEXT NOT NULL REFERENCES webhooks (url) ON DELETE CASCADE,
  job TEXT NOT NULL,
  plugin TEXT NOT NULL,
  status TEXT NOT NULL,
  error TEXT,
  ended REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL,
  failed REAL,
  reason TEXT,
  UNIQUE (id, url)
) STRICT;
CREATE INDEX messages_due ON messages (url, due) WHERE failed IS NULL;
CREATE TRIGGER jobs_ended AFTER UPDATE OF ended ON jobs
WHEN new.ended IS NOT NULL AND old.ended IS NULL
BEGIN
  INSERT OR IGNORE INTO messages (id, url, job, plugin, status, error, ended, due)
  SELECT 'msg_' || new.id || '_' || new.events, url, new.id, new.plugin, new.status, new.error,
    new.ended, new.ended FROM webhooks WHERE gone IS NULL;
END;
"""
# Until when an address is let alone, by all processes.
RESTING_STEP = "ALTER TABLE webhooks ADD COLUMN rests_until REAL NOT NULL DEFAULT 0;"


class Database(Protocol):
    """The jobs' file. What is wrong with it is an OSError, which says what to do."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Hold the connection."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Hold the file's one write lock; what is done meanwhile is done whole, or not at all."""
        ...


class SqliteOutbox:
    """The messages of one state folder."""

    tick_seconds = 0.25

    def __init__(self, database: Database) -> None:
        """Use the file of the jobs."""
        self._database = database

    def listen(self, heard: Callable[[], None]) -> None:
        """Call nobody: whoever posts looks every ``tick_seconds``."""

    def set_addresses(self, urls: Sequence[str]) -> None:
        with self._database.writing() as database:
            known = {row["url"] for row in database.execute("SELECT url FROM webhooks")}
            gone = [(url,) for url in known - set(urls)]
            database.executemany("DELETE FROM webhooks WHERE url = ?", gone)
            new = [(url,) for url in urls if url not in known]
            database.executemany("INSERT INTO webhooks (url) VALUES (?)", new)

    def drop(self, url: str) -> None:
        with self._database.writing() as database:
            database.execute("DELETE FROM webhooks WHERE url = ?", (url,))

    def addresses(self) -> list[str]:
        with self._database.reading() as database:
            rows = database.execute("SELECT url FROM webhooks WHERE gone IS NULL")
            return [row["url"] for row in rows]

    def take(self, url: str) -> Delivery | None:
        now = time.time()
        with self._database.reading() as database:  # mostly there is none: nothing is locked
            due = database.execute(
                "SELECT 1 FROM messages WHERE url = :url AND failed IS NULL AND due <= :now"
                " AND EXISTS (SELECT 1 FROM webhooks WHERE url = :url AND rests_until <= :now)"
                " LIMIT 1",
                {"url": url, "now": now},
            ).fetchone()
        if due is None:
            return None
        with self._database.writing() as database:
            row = database.execute(
                "UPDATE messages SET attempts = attempts + 1, due = :now + :held WHERE seq ="
                " (SELECT seq FROM messages WHERE url = :url AND failed IS NULL AND due <= :now"
                " ORDER BY due, seq LIMIT 1) RETURNING *",
                {"now": now, "held": outbox.HELD_SECONDS, "url": url},
            ).fetchone()
        return None if row is None else delivery_of(row)

    def rest(self, url: str, seconds: float) -> None:
        with self._database.writing() as database:
            database.execute(
                "UPDATE webhooks SET rests_until = ? WHERE url = ?", (time.time() + seconds, url)
            )

    def taken(self, delivery: Delivery) -> None:
        with self._database.writing() as database:
            database.execute("DELETE FROM messages WHERE seq = ?", (delivery.seq,))

    def put_off(self, delivery: Delivery, seconds: float, reason: str) -> None:
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET due = ?, reason = ? WHERE seq = ? AND attempts = ?",
                (time.time() + seconds, reason, delivery.seq, delivery.attempts),
            )

    def give_back(self, delivery: Delivery) -> None:
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET due = ?, attempts = attempts - 1"
                " WHERE seq = ? AND attempts = ?",
                (time.time(), delivery.seq, delivery.attempts),
            )

    def give_up(self, delivery: Delivery, reason: str) -> None:
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET failed = ?, reason = ? WHERE seq = ?",
                (time.time(), reason, delivery.seq),
            )

    def stop(self, url: str, reason: str) -> int:
        now = time.time()
        with self._database.writing() as database:
            database.execute("UPDATE webhooks SET gone = ? WHERE url = ?", (now, url))
            return database.execute(
                "UPDATE messages SET failed = ?, reason = ? WHERE url = ? AND failed IS NULL",
                (now, reason, url),
            ).rowcount

    def retry(self, url: str) -> int:
        now = time.time()
        with self._database.writing() as database:
            database.execute(
                "UPDATE webhooks SET gone = NULL, rests_until = 0 WHERE url = ?", (url,)
            )
            return database.execute(
                "UPDATE messages SET attempts = iif(failed IS NULL, attempts, 0), failed = NULL,"
                " due = ? WHERE url = ?",
                (now, url),
            ).rowcount

    def clean(self, keep_seconds: float) -> int:
        now = time.time()
        with self._database.writing() as database:
            given_up = database.execute(
                "UPDATE messages SET failed = ?, reason = ?"
                " WHERE seq IN (SELECT seq FROM (SELECT seq, row_number() OVER"
                " (PARTITION BY url ORDER BY seq DESC) AS place FROM messages"
                " WHERE failed IS NULL) WHERE place > ?)",
                (now, outbox.TOO_MANY, outbox.MOST_WAITING),
            ).rowcount
            database.execute(
                "DELETE FROM messages WHERE failed < ? OR seq IN (SELECT seq FROM (SELECT seq,"
                " row_number() OVER (PARTITION BY url ORDER BY failed DESC, seq DESC) AS place"
                " FROM messages WHERE failed IS NOT NULL) WHERE place > ?)",
                (now - keep_seconds, outbox.MOST_FAILED),
            )
        return given_up

    def statuses(self) -> list[AddressStatus]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT url, gone, (SELECT count(*) FROM messages WHERE url = webhooks.url"
                " AND failed IS NULL) AS waiting, (SELECT count(*) FROM messages"
                " WHERE url = webhooks.url AND failed IS NOT NULL) AS failed,"
                " (SELECT reason FROM messages WHERE url = webhooks.url AND reason IS NOT NULL"
                " ORDER BY seq DESC LIMIT 1) AS reason FROM webhooks ORDER BY url"
            ).fetchall()
        return [status_of(row) for row in rows]

    def failed(self, limit: int) -> list[Delivery]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT * FROM messages WHERE failed IS NOT NULL"
                " ORDER BY failed DESC, seq DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [delivery_of(row) for row in rows]
