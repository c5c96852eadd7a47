"""The entry that each pending job has in Procrastinate's queue: one queue a plugin.

PostgreSQL tells whoever listens of an entry (``notices``); whether a job is pending, and whose turn
it is, its row says. Both are written in one transaction, on the connection that is given.
"""

from __future__ import annotations

import logging

from procrastinate import App, SyncPsycopgConnector

from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.rows import IS_STUCK

TASK = "toolrunner.job"
MOST_TAG = 2**31 - 1
_MOST_NAME = 128

# How far a caller's share has got: one more than its last waiting job, or, if none waits, than what
# is served now. So who comes seldom is served soon, however much others have left. What nobody can
# run counts for nothing but more of the same, unless nobody runs anything, as while all start.
_SAME = "plugin = %(plugin)s AND version IS NOT DISTINCT FROM %(version)s"
_TAG = f"""
SELECT least(%(most)s, 1 + greatest(0::bigint,
  (SELECT max(tag) FROM jobs WHERE status = 'PENDING' AND caller = %(caller)s
     AND ({_SAME} OR NOT {IS_STUCK})),
  (SELECT max(tag) FROM jobs WHERE status = 'RUNNING'),
  (SELECT min(tag) - 1 FROM jobs WHERE status = 'PENDING' AND NOT {IS_STUCK})
)) AS tag
"""  # noqa: S608 - ours alone


class JobQueue:
    """The queue's entries. Thread-safe: it keeps nothing."""

    def __init__(self) -> None:
        # It tells of each entry otherwise.
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        self._app = App(connector=SyncPsycopgConnector())

    def tag(self, connection: Connection, caller: str, plugin: str, version: str | None) -> int:
        """Return the place of a caller's next job among those of all: the lowest is first."""
        what = {"most": MOST_TAG, "caller": caller, "plugin": plugin, "version": version}
        row = connection.execute(_TAG, what).fetchone()
        return 1 if row is None else int(row["tag"])

    def put(self, connection: Connection, job_id: str, plugin: str, tag: int) -> int:
        """Make the entry of a job that waits; return its number."""
        deferred = self._app.configure_task(
            TASK, queue=plugin[:_MOST_NAME], priority=-tag, connection=connection
        )
        return deferred.defer(job=job_id)

    def drop(self, connection: Connection, entry: int | None) -> None:
        """Delete the entry of a job that waits no more."""
        if entry is not None:
            self._app.job_manager.cancel_job_by_id(entry, delete_job=True, connection=connection)
