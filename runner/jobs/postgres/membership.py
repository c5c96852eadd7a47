"""Which processes of a cluster live, told by locks that end with the connections that hold them.

Each process has a row, a lock on its number that one connection holds for nothing else, and says
every few seconds that it lives. A broken connection gives up the lock at once; what a vanished or
stopped machine holds counts no more once it has said nothing for a while. Whoever says that he
lives is told in the same step whether there is something to look at.
"""

from __future__ import annotations

import errno
import logging
import platform
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

import psycopg

from toolrunner.runner.jobs.postgres.connections import (
    Connection,
    Opener,
    explained,
    let_go_of_copy,
)
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.sandbox import forks

_LOG = logging.getLogger("toolrunner.jobs")

LATE_SECONDS = 15.0
BEAT_SECONDS = 3.0
# The first half of the number of every such lock; the other is the process's ``key``.
_LOCKS = 0x74726A77
_HOLDERS = (
    "pg_locks WHERE locktype = 'advisory' AND classid = %(locks)s AND objsubid = 2 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
# Those whose death would change something, and that seem to be dead.
_SUSPECTS = f"""
SELECT worker FROM workers WHERE worker <> %(me)s AND (
  heartbeat < clock_timestamp() - make_interval(secs => %(late)s)
  OR key NOT IN (SELECT objid::bigint FROM {_HOLDERS})
)
"""  # noqa: S608 - ours alone
# That a process lives; and whether anything may have to be done that nobody has told it of.
# Of very many some look whether others are dead, since each of them looks at all.
_LOOKS_A_BEAT = 20
_BEAT = f"""
WITH beat AS (
  UPDATE workers SET heartbeat = clock_timestamp() WHERE worker = %(me)s RETURNING 1
)
SELECT EXISTS (SELECT FROM beat) AS is_known, (
  EXISTS (SELECT FROM jobs WHERE status = 'PENDING')
  OR EXISTS (SELECT FROM jobs WHERE status = 'RUNNING' AND worker = %(me)s AND withdrawn <> 0)
  OR CASE WHEN random() * (SELECT count(*) FROM workers) < %(looks)s
    THEN EXISTS ({_SUSPECTS}) ELSE false END
) AS is_stirring
"""  # noqa: S608 - ours alone
_END_HOLDER = f"SELECT pg_terminate_backend(pid) FROM {_HOLDERS} AND objid = %(key)s"  # noqa: S608 - same
_LOOK = """
SELECT heartbeat < clock_timestamp() - make_interval(secs => %(late)s) AS is_late,
  pg_try_advisory_xact_lock(%(locks)s, key) AS is_free
FROM workers WHERE worker = %(worker)s FOR UPDATE SKIP LOCKED
"""
# Which run of which server this is: another one after a start, where a standby has taken over, and
# once a process of PostgreSQL has crashed, which ends all others (it forgets its statistics then).
_RUN = """
'run ' || extract(epoch FROM pg_postmaster_start_time())
  || ' ' || coalesce(extract(epoch FROM (SELECT stats_reset FROM pg_stat_bgwriter)), 0)
"""
_RUNS_SINCE = f"""
SELECT value > extract(epoch FROM clock_timestamp()) - %s AS is_fresh FROM notes WHERE name = {_RUN}
"""  # noqa: S608 - ours alone
_NOTE_RUN = f"""
WITH others AS (DELETE FROM notes WHERE name LIKE 'run %' AND name <> {_RUN})
INSERT INTO notes (name, value) VALUES ({_RUN}, extract(epoch FROM clock_timestamp()))
  ON CONFLICT (name) DO NOTHING
"""  # noqa: S608 - same


class Membership:
    """The place of this process in its cluster. Thread-safe; a fork is none of them."""

    def __init__(
        self,
        url: DatabaseUrl,
        check: Callable[[Connection], None],
        *,
        late_seconds: float = LATE_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        """``check`` is asked of each new connection whether its database can be used."""
        self._url = url
        self._opener = Opener(url, check)
        self._late_seconds = late_seconds
        self._beat_seconds = beat_seconds
        # Called when this process should look at the jobs; it neither waits nor raises.
        self.stirred: Callable[[], None] = _nobody
        self._name = ""
        self._connection: Connection | None = None
        self._begin()
        forks.in_each_child(self, Membership._in_child)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._opener.begin()

    def _in_child(self) -> None:
        if self._connection is not None:
            let_go_of_copy(self._connection)
        self._connection = None
        self._name = ""
        self.stirred = _nobody
        self._begin()

    @property
    def name(self) -> str:
        """What this process was known by last; "" before it has taken a job."""
        return self._name

    def insist(self) -> str:
        """Return what this process is known by, once its lock is held; raises StoreError."""
        with self._lock:
            if self._over.is_set():
                message = "the job store is closed"
                raise StoreError(errno.EBADF, message)
            if self._connection is None:
                self._join()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="toolrunner-heartbeat", daemon=True
                )
                self._thread.start()
            return self._name

    def taken_for_dead(self) -> None:
        """Note that this process's row is gone: what it ran is others' now. It begins anew."""
        with self._lock:
            self._leave()
            if self._name:
                _LOG.warning(
                    "this process was taken for dead, as it had said nothing for %g s; what it ran"
                    " is run again as its retries allow, and its own ends are not accepted",
                    LATE_SECONDS,
                )
            self._name = ""
        self.stirred()

    def close(self) -> None:
        """Be no member any more. Jobs that this process has not ended are others' at once."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._connection is not None:
                with suppress(psycopg.Error):
                    self._connection.execute("DELETE FROM offers WHERE worker = %s", (self._name,))
                    self._connection.execute(
                        "DELETE FROM workers WHERE worker = %(me)s AND NOT EXISTS"
                        " (SELECT 1 FROM jobs WHERE status = 'RUNNING' AND worker = %(me)s)",
                        {"me": self._name},
                    )
                    # The server may notice only in a moment that the connection is closed.
                    self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._leave()

    def _work(self) -> None:
        while not self._over.wait(self._beat_seconds):
            try:
                with self._lock:
                    if self._connection is None:
                        self._join()
                    else:
                        self._beat(self._connection)
            except StoreError:  # who takes jobs meets the same, and says so
                self.stirred()

    def _beat(self, connection: Connection) -> None:
        """Say that this process lives."""
        try:
            with explained(self._url):
                told = connection.execute(
                    _BEAT,
                    {
                        "me": self._name,
                        "late": self._late_seconds,
                        "locks": _LOCKS,
                        "looks": _LOOKS_A_BEAT,
                    },
                ).fetchone()
        except StoreError:
            self._leave()
            self._join()
            return
        if told is None or not told["is_known"]:
            self.taken_for_dead()
            self._join()
        elif told["is_stirring"]:
            self.stirred()

    def _join(self) -> None:
        """Be a member: the one that this process was, if nobody has noticed that it was none."""
        self._connection = self._opener.open(self._prepare)

    def _prepare(self, connection: Connection) -> None:
        # Now, and not at the first death in it, which is to be found at once.
        connection.execute(_NOTE_RUN)
        if self._name and not self._resume(connection):
            self.taken_for_dead()
        if not self._name:
            self._name = _enter(connection)

    def _resume(self, connection: Connection) -> bool:
        """Take the lock again that a broken connection has held; ``False`` if it is too late."""
        with connection.transaction():
            row = connection.execute(
                "UPDATE workers SET heartbeat = clock_timestamp() WHERE worker = %s RETURNING key",
                (self._name,),
            ).fetchone()
            if row is None:
                return False
            lock = {"locks": _LOCKS, "key": row["key"]}
            # The server may not have noticed yet that nobody is at the other end.
            connection.execute(_END_HOLDER, lock)
            connection.execute("SELECT pg_advisory_lock(%(locks)s, %(key)s)", lock)
        return True

    def _leave(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


def _nobody() -> None:
    """Be told nothing."""


def _enter(connection: Connection) -> str:
    """Make a row for this process; nobody sees it before its lock is held."""
    name = uuid.uuid4().hex
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO workers (worker, host) VALUES (%s, %s) RETURNING key",
            (name, platform.node()),
        ).fetchone()
        assert row is not None
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCKS, row["key"]))
    return name


def is_member(connection: Connection, name: str) -> bool:
    """Whether a process has its row, which stays for as long as this transaction lasts."""
    found = connection.execute(
        "SELECT 1 FROM workers WHERE worker = %s FOR KEY SHARE", (name,)
    ).fetchone()
    return found is not None


def suspects(connection: Connection, me: str, late_seconds: float) -> list[str]:
    """Return the processes that may be dead: nobody holds their locks, or they are silent."""
    rows = connection.execute(_SUSPECTS, {"me": me, "late": late_seconds, "locks": _LOCKS})
    return [row["worker"] for row in rows]


def is_fresh(connection: Connection, seconds: float) -> bool:
    """Whether PostgreSQL can be written so shortly that the living may not be back yet.

    Their locks have ended with what it was before. Who joins first notes since when that is.
    """
    row = connection.execute(_RUNS_SINCE, (seconds,)).fetchone()
    if row is None:
        connection.execute(_NOTE_RUN)
        row = connection.execute(_RUNS_SINCE, (seconds,)).fetchone()
    return row is None or bool(row["is_fresh"])


def remove_dead(connection: Connection, worker: str, late_seconds: float) -> bool:
    """Take a process's row if it is dead, so that it can take no job any more.

    Whoever else finds it dead just then leaves it to this transaction.
    """
    row = connection.execute(
        _LOOK, {"late": late_seconds, "locks": _LOCKS, "worker": worker}
    ).fetchone()
    if row is None or not (row["is_free"] or row["is_late"]):
        return False
    connection.execute("DELETE FROM workers WHERE worker = %s", (worker,))
    return True
