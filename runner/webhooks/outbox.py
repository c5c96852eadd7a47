"""What has to be posted, and to whom: two tables in the file of the jobs.

A job's end writes what is posted of it, by a trigger and so in the same step, whichever process
ends it: neither is there without the other. A message goes when it was taken, and stays for the
operator when it was given up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from sqlite3 import Connection, Row
from typing import Protocol

from toolrunner.runner.webhooks.message import Message

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
# An attempt that nobody has reported the end of is made again after that: more than any lasts.
HELD_SECONDS = 60.0
_MOST_WAITING = 100_000
_MOST_FAILED = 1_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one address, in the attempt of that number."""

    seq: int
    url: str
    attempts: int
    message: Message
    reason: str | None = None
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AddressStatus:
    """How one address stands.

    ``has_gone``: it wants nothing more. ``reason``: why it has not taken a message, the last time.
    """

    url: str
    has_gone: bool
    waiting: int
    failed: int
    reason: str | None


class Database(Protocol):
    """The jobs' file. What is wrong with it is an OSError, which says what to do."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Hold the connection."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Hold the file's one write lock; what is done meanwhile is done whole, or not at all."""
        ...


class Outbox:
    """The messages of one state folder, for all its processes. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Use the file of the jobs."""
        self._database = database

    def set_addresses(self, urls: Sequence[str]) -> None:
        """Post to these from now on; what waits for others is dropped."""
        with self._database.writing() as database:
            known = {row["url"] for row in database.execute("SELECT url FROM webhooks")}
            gone = [(url,) for url in known - set(urls)]
            database.executemany("DELETE FROM webhooks WHERE url = ?", gone)
            new = [(url,) for url in urls if url not in known]
            database.executemany("INSERT INTO webhooks (url) VALUES (?)", new)

    def addresses(self) -> list[str]:
        """Return those that are posted to."""
        with self._database.reading() as database:
            rows = database.execute("SELECT url FROM webhooks WHERE gone IS NULL")
            return [row["url"] for row in rows]

    def take(self, url: str) -> Delivery | None:
        """Return the next message that is due there, for this process to post."""
        now = time.time()
        with self._database.reading() as database:  # mostly there is none: nothing is locked
            due = database.execute(
                "SELECT 1 FROM messages WHERE url = ? AND failed IS NULL AND due <= ? LIMIT 1",
                (url, now),
            ).fetchone()
        if due is None:
            return None
        with self._database.writing() as database:
            row = database.execute(
                "UPDATE messages SET attempts = attempts + 1, due = :now + :held WHERE seq ="
                " (SELECT seq FROM messages WHERE url = :url AND failed IS NULL AND due <= :now"
                " ORDER BY due, seq LIMIT 1) RETURNING *",
                {"now": now, "held": HELD_SECONDS, "url": url},
            ).fetchone()
        return None if row is None else _delivery(row)

    def taken(self, delivery: Delivery) -> None:
        """Forget a message: its receiver has it."""
        with self._database.writing() as database:
            database.execute("DELETE FROM messages WHERE seq = ?", (delivery.seq,))

    def put_off(self, delivery: Delivery, seconds: float, reason: str) -> None:
        """Post a message again, in so many seconds."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET due = ?, reason = ? WHERE seq = ? AND attempts = ?",
                (time.time() + seconds, reason, delivery.seq, delivery.attempts),
            )

    def give_back(self, delivery: Delivery) -> None:
        """Take an attempt as not made: this process had to end in the middle of it."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET due = ?, attempts = attempts - 1"
                " WHERE seq = ? AND attempts = ?",
                (time.time(), delivery.seq, delivery.attempts),
            )

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Post a message no more, and keep it for the operator."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE messages SET failed = ?, reason = ? WHERE seq = ?",
                (time.time(), reason, delivery.seq),
            )

    def stop(self, url: str, reason: str) -> int:
        """Post nothing to an address any more; return how many messages that gives up."""
        now = time.time()
        with self._database.writing() as database:
            database.execute("UPDATE webhooks SET gone = ? WHERE url = ?", (now, url))
            return database.execute(
                "UPDATE messages SET failed = ?, reason = ? WHERE url = ? AND failed IS NULL",
                (now, reason, url),
            ).rowcount

    def retry(self, url: str) -> int:
        """Post what waits there at once, and what was given up from the first attempt on.

        Return how many messages that are.
        """
        now = time.time()
        with self._database.writing() as database:
            database.execute("UPDATE webhooks SET gone = NULL WHERE url = ?", (url,))
            return database.execute(
                "UPDATE messages SET attempts = iif(failed IS NULL, attempts, 0), failed = NULL,"
                " due = ? WHERE url = ?",
                (now, url),
            ).rowcount

    def clean(self, keep_seconds: float) -> int:
        """Bound what is kept; return how many messages were given up for being too many."""
        now = time.time()
        with self._database.writing() as database:
            given_up = database.execute(
                "UPDATE messages SET failed = ?, reason = 'too many messages were waiting'"
                " WHERE seq IN (SELECT seq FROM (SELECT seq, row_number() OVER"
                " (PARTITION BY url ORDER BY seq DESC) AS place FROM messages"
                " WHERE failed IS NULL) WHERE place > ?)",
                (now, _MOST_WAITING),
            ).rowcount
            database.execute(
                "DELETE FROM messages WHERE failed < ? OR seq IN (SELECT seq FROM (SELECT seq,"
                " row_number() OVER (PARTITION BY url ORDER BY failed DESC, seq DESC) AS place"
                " FROM messages WHERE failed IS NOT NULL) WHERE place > ?)",
                (now - keep_seconds, _MOST_FAILED),
            )
        return given_up

    def statuses(self) -> list[AddressStatus]:
        """Return how each address stands."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT url, gone, (SELECT count(*) FROM messages WHERE url = webhooks.url"
                " AND failed IS NULL) AS waiting, (SELECT count(*) FROM messages"
                " WHERE url = webhooks.url AND failed IS NOT NULL) AS failed,"
                " (SELECT reason FROM messages WHERE url = webhooks.url AND reason IS NOT NULL"
                " ORDER BY seq DESC LIMIT 1) AS reason FROM webhooks ORDER BY url"
            ).fetchall()
        return [
            AddressStatus(
                row["url"], row["gone"] is not None, row["waiting"], row["failed"], row["reason"]
            )
            for row in rows
        ]

    def failed(self, limit: int) -> list[Delivery]:
        """Return the messages that were given up last, the newest first."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT * FROM messages WHERE failed IS NOT NULL"
                " ORDER BY failed DESC, seq DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [_delivery(row) for row in rows]


def _delivery(row: Row) -> Delivery:
    message = Message(
        row["id"],
        row["job"],
        row["plugin"],
        row["status"],
        None if row["error"] is None else json.loads(row["error"]),
        datetime.fromtimestamp(row["ended"], UTC),
    )
    failed = row["failed"]
    return Delivery(
        row["seq"],
        row["url"],
        row["attempts"],
        message,
        row["reason"],
        None if failed is None else datetime.fromtimestamp(failed, UTC),
    )
