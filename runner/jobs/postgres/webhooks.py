"""What has to be posted of a cluster's jobs, and what it is signed with: tables beside the jobs.

See ``Outbox`` and ``Secrets`` for what each method does. A trigger writes the messages, and tells
whoever posts (``schema``). Times are those of the database's clock.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from toolrunner.runner.jobs.postgres.connections import Connections
from toolrunner.runner.jobs.postgres.notices import MESSAGES, Notices
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.webhooks import outbox
from toolrunner.runner.webhooks.addresses import told
from toolrunner.runner.webhooks.message import check_secret
from toolrunner.runner.webhooks.outbox import AddressStatus, Delivery, delivery_of, status_of
from toolrunner.runner.webhooks.signing import Known, Step, made, newest, replacing

# Any number that nobody else locks in this database: who says which addresses there are.
_NAMING = 0x74726A68
# Of the transaction's begin, so that an index can be looked through by it.
_NOW = "extract(epoch FROM now())::float8"
_TELL = "SELECT pg_notify(%s, '')"
# Those that another process takes just now are passed over.
_TAKE = f"""
UPDATE messages SET attempts = attempts + 1, due = {_NOW} + %(held)s WHERE seq = (
  SELECT seq FROM messages WHERE url = %(url)s AND failed IS NULL AND due <= {_NOW}
  AND EXISTS (SELECT FROM webhooks WHERE url = %(url)s AND rests_until <= {_NOW})
  ORDER BY due, seq LIMIT 1 FOR UPDATE OF messages SKIP LOCKED
) RETURNING *
"""  # noqa: S608 - ours alone
_CROWD_OUT = f"""
UPDATE messages SET failed = {_NOW}, reason = %s WHERE seq IN (
  SELECT seq FROM (
    SELECT seq, row_number() OVER (PARTITION BY url ORDER BY seq DESC) AS place
    FROM messages WHERE failed IS NULL
  ) AS waiting WHERE place > %s
)
"""  # noqa: S608 - same
# Of an address that has just been dropped a job's end may still have written one.
_FORGET = f"""
DELETE FROM messages WHERE failed < {_NOW} - %s OR url NOT IN (SELECT url FROM webhooks)
  OR seq IN (
    SELECT seq FROM (
      SELECT seq, row_number() OVER (PARTITION BY url ORDER BY failed DESC, seq DESC) AS place
      FROM messages WHERE failed IS NOT NULL
    ) AS failures WHERE place > %s
  )
"""  # noqa: S608 - same
_STATUSES = """
SELECT url, gone,
  (SELECT count(*) FROM messages WHERE url = webhooks.url AND failed IS NULL) AS waiting,
  (SELECT count(*) FROM messages WHERE url = webhooks.url AND failed IS NOT NULL) AS failed,
  (SELECT reason FROM messages WHERE url = webhooks.url AND reason IS NOT NULL
    ORDER BY seq DESC LIMIT 1) AS reason
FROM webhooks ORDER BY url
"""


class PostgresOutbox:
    """The messages of one database of jobs."""

    # Attempts that are due again, and what nobody lives to be called for.
    tick_seconds = 5.0

    def __init__(self, database: Connections, notices: Notices) -> None:
        """Use what the jobs' store has open."""
        self._database = database
        self._notices = notices

    def listen(self, heard: Callable[[], None]) -> None:
        self._notices.hear(MESSAGES, heard)

    def set_addresses(self, urls: Sequence[str]) -> None:
        wanted = list(urls)
        with self._database.writing() as database:
            database.execute("SELECT pg_advisory_xact_lock(%s)", (_NAMING,))
            for table in ("webhooks", "messages"):
                database.execute(f"DELETE FROM {table} WHERE url <> ALL(%s::text[])", (wanted,))  # noqa: S608 - ours
            database.execute(
                "INSERT INTO webhooks (url) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
                (wanted,),
            )
            database.execute(_TELL, (MESSAGES,))

    def drop(self, url: str) -> None:
        with self._database.writing() as database:
            database.execute("SELECT pg_advisory_xact_lock(%s)", (_NAMING,))
            for table in ("webhooks", "messages"):
                database.execute(f"DELETE FROM {table} WHERE url = %s", (url,))  # noqa: S608 - ours
            database.execute(_TELL, (MESSAGES,))

    def addresses(self) -> list[str]:
        with self._database.reading() as database:
            rows = database.execute("SELECT url FROM webhooks WHERE gone IS NULL ORDER BY url")
            return [row["url"] for row in rows]

    def take(self, url: str) -> Delivery | None:
        with self._database.reading() as database:
            row = database.execute(_TAKE, {"held": outbox.HELD_SECONDS, "url": url}).fetchone()
        return None if row is None else delivery_of(row)

    def rest(self, url: str, seconds: float) -> None:
        with self._database.reading() as database:
            database.execute(
                f"UPDATE webhooks SET rests_until = {_NOW} + %s WHERE url = %s",  # noqa: S608 - ours
                (seconds, url),
            )

    def taken(self, delivery: Delivery) -> None:
        with self._database.reading() as database:
            database.execute("DELETE FROM messages WHERE seq = %s", (delivery.seq,))

    def put_off(self, delivery: Delivery, seconds: float, reason: str) -> None:
        with self._database.reading() as database:
            database.execute(
                f"UPDATE messages SET due = {_NOW} + %s, reason = %s"  # noqa: S608 - ours
                " WHERE seq = %s AND attempts = %s",
                (seconds, reason, delivery.seq, delivery.attempts),
            )

    def give_back(self, delivery: Delivery) -> None:
        with self._database.writing() as database:
            database.execute(
                f"UPDATE messages SET due = {_NOW}, attempts = attempts - 1"  # noqa: S608 - ours
                " WHERE seq = %s AND attempts = %s",
                (delivery.seq, delivery.attempts),
            )
            database.execute(_TELL, (MESSAGES,))

    def give_up(self, delivery: Delivery, reason: str) -> None:
        with self._database.reading() as database:
            database.execute(
                f"UPDATE messages SET failed = {_NOW}, reason = %s WHERE seq = %s",  # noqa: S608 - ours
                (reason, delivery.seq),
            )

    def stop(self, url: str, reason: str) -> int:
        with self._database.writing() as database:
            database.execute(
                f"UPDATE webhooks SET gone = {_NOW} WHERE url = %s",  # noqa: S608 - ours
                (url,),
            )
            return database.execute(
                f"UPDATE messages SET failed = {_NOW}, reason = %s"  # noqa: S608 - ours
                " WHERE url = %s AND failed IS NULL",
                (reason, url),
            ).rowcount

    def retry(self, url: str) -> int:
        with self._database.writing() as database:
            database.execute(
                "UPDATE webhooks SET gone = NULL, rests_until = 0 WHERE url = %s", (url,)
            )
            count = database.execute(
                "UPDATE messages SET attempts = CASE WHEN failed IS NULL THEN attempts ELSE 0 END,"  # noqa: S608 - ours
                f" failed = NULL, due = {_NOW} WHERE url = %s",
                (url,),
            ).rowcount
            database.execute(_TELL, (MESSAGES,))
            return count

    def clean(self, keep_seconds: float) -> int:
        with self._database.writing() as database:
            given_up = database.execute(_CROWD_OUT, (outbox.TOO_MANY, outbox.MOST_WAITING)).rowcount
            database.execute(_FORGET, (keep_seconds, outbox.MOST_FAILED))
        return given_up

    def statuses(self) -> list[AddressStatus]:
        with self._database.reading() as database:
            return [status_of(row) for row in database.execute(_STATUSES)]

    def failed(self, limit: int) -> list[Delivery]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT * FROM messages WHERE failed IS NOT NULL"
                " ORDER BY failed DESC, seq DESC LIMIT %s",
                (limit,),
            )
            return [delivery_of(row) for row in rows]


class PostgresSecrets:
    """The secrets of all servers of one database of jobs; they stay where an address goes."""

    def __init__(self, database: Connections) -> None:
        """Use what the jobs' store has open."""
        self._database = database

    def of(self, url: str) -> Known:
        with self._database.reading() as database:
            row = database.execute(
                "SELECT secrets FROM webhook_secrets WHERE url = %s", (url,)
            ).fetchone()
        found: list[str] = [] if row is None else row["secrets"]
        return self._checked(url, found) or self._change(url, made)

    def known(self) -> list[str]:
        with self._database.reading() as database:
            rows = database.execute("SELECT url FROM webhook_secrets ORDER BY url")
            return [row["url"] for row in rows]

    def problem(self) -> str:
        try:
            self.known()
        except OSError as error:
            return str(error)
        return ""

    def replace(self, url: str, secret: str | None = None) -> Known:
        return self._change(url, replacing(secret))

    def forget_old(self, url: str) -> Known:
        return self._change(url, newest)

    def _change(self, url: str, step: Step) -> Known:
        with self._database.writing() as database:
            # First a row, so that of those who make one at once all but one wait.
            database.execute(
                "INSERT INTO webhook_secrets (url, secrets) VALUES (%s, '{}')"
                " ON CONFLICT DO NOTHING",
                (url,),
            )
            row = database.execute(
                "SELECT secrets FROM webhook_secrets WHERE url = %s FOR UPDATE", (url,)
            ).fetchone()
            new = step(tuple([] if row is None else row["secrets"]))
            database.execute(
                "UPDATE webhook_secrets SET secrets = %s WHERE url = %s", (list(new), url)
            )
        return new

    def _checked(self, url: str, secrets: Sequence[str]) -> Known:
        try:
            return tuple(map(check_secret, secrets))
        except ValueError:
            message = (
                f"the secret of {told(url)} in {self._database.url} is not what toolrunner has"
                " written: give it the receiver's (toolrunner webhooks secret URL --set -)"
            )
            raise StoreError(errno.EIO, message) from None
