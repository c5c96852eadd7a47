"""What PostgreSQL tells this process of: one connection that listens, in a thread of its own.

Whoever wants to hear of something is called when it may have happened: told by its channel, once
the listening begins, and after each break of the connection, which may have swallowed something. So
who looks whenever he is called misses nothing. The thread itself looks at nothing, and what it
calls must neither wait nor raise.
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
from psycopg.sql import SQL, Identifier

from toolrunner.runner.jobs.postgres.connections import (
    Connection,
    connect,
    explained,
    let_go_of_copy,
)
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.sandbox import forks
from toolrunner.sandbox.shortage import started

_LOG = logging.getLogger("toolrunner.jobs")

# Procrastinate's own: told by its trigger for each new entry, in the transaction that makes a job
# PENDING, and so exactly when there may be one to take. Other users of Procrastinate in the same
# database wake us for nothing, which costs a look.
WAITING = "procrastinate_any_queue_v1"
# Ours, as no entry of Procrastinate's is left of a job that runs.
WITHDRAWN = "toolrunner_withdrawn"
MESSAGES = "toolrunner_messages"
# One a job, so that a process hears of those alone that somebody follows there. The id is in its
# name: nothing of a job is in a notice.
OF_JOB = "toolrunner_job_"

_SILENT_SECONDS = 30.0
_FIRST_SECONDS, _MOST_SECONDS = 0.1, 5.0

Heard = Callable[[], None]


class Notices:
    """What one process hears. Thread-safe; a fork hears nothing."""

    def __init__(self, url: DatabaseUrl) -> None:
        """Nothing is connected before somebody wants to hear something."""
        self._url = url
        self._begin()
        forks.in_each_child(self, Notices._in_child)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._hearing: dict[str, list[Heard]] = {}
        self._connection: Connection | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def _in_child(self) -> None:
        if self._connection is not None:
            let_go_of_copy(self._connection)
        for end in self._bell or ():
            end.close()
        self._begin()

    def hear(self, channel: str, heard: Heard) -> None:
        """Call ``heard`` from now on; raises NoThreadError."""
        with self._lock:
            if self._over.is_set():
                return  # whoever looks is told that the store is closed
            if self._thread is None:
                self._bell = socket.socketpair()
                for end in self._bell:
                    end.setblocking(False)
                self._thread = started(self._work, "toolrunner-notices")
            self._hearing.setdefault(channel, []).append(heard)
        self._ring()

    @contextmanager
    def hearing(self, channel: str, heard: Heard) -> Iterator[None]:
        """Call ``heard`` for as long as the block lasts; raises NoThreadError."""
        self.hear(channel, heard)
        try:
            yield
        finally:
            with self._lock:
                others = self._hearing.get(channel, [])
                if heard in others:  # a fork in between has forgotten it
                    others.remove(heard)
                if not others:
                    self._hearing.pop(channel, None)
            self._ring()

    def close(self) -> None:
        """Hear nothing more."""
        with self._lock:
            self._over.set()
        self._ring()
        if self._thread is not None:
            self._thread.join()
        for end in self._bell or ():
            end.close()

    def _ring(self) -> None:
        """Have the thread look at what is wanted."""
        if self._bell is not None:
            with suppress(OSError):  # it is full, so the thread will look
                self._bell[1].send(b"!")

    def _work(self) -> None:
        pause = 0.0
        while not self._over.is_set():
            try:
                with explained(self._url), closing(connect(self._url)) as connection:
                    self._connection = connection
                    pause = 0.0
                    self._listen(connection)
            except StoreError:  # whoever looks meets the same, and says so
                pass
            except Exception:  # noqa: BLE001 - logged; a bug may not end who listens
                _LOG.exception("listening to PostgreSQL met a bug; it begins anew")
            finally:
                self._connection = None
            # Also where it cannot be made: who looks then learns that the database is away.
            self._call(self._wanted())
            pause = min(_MOST_SECONDS, 2 * pause or _FIRST_SECONDS)
            # Not all processes at once, when PostgreSQL is back.
            self._over.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it

    def _listen(self, connection: Connection) -> None:
        """Listen to what is wanted, until the end or until the connection breaks."""
        assert self._bell is not None
        listened: set[str] = set()
        # What comes in the middle of an answer, psycopg passes on itself.
        connection.add_notify_handler(lambda notice: self._call({notice.channel}))
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._bell[0], selectors.EVENT_READ)
            while not self._over.is_set():
                with suppress(BlockingIOError):
                    self._bell[0].recv(4096)
                wanted = self._wanted()
                for channel in listened - wanted:
                    connection.execute(SQL("UNLISTEN {}").format(Identifier(channel)))
                for channel in wanted - listened:
                    connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
                    self._call({channel})
                listened = wanted
                self._call(_told(connection))
                if not selector.select(_SILENT_SECONDS):
                    connection.execute("SELECT 1")  # who listens to nobody hears nothing either

    def _wanted(self) -> set[str]:
        with self._lock:
            return set(self._hearing)

    def _call(self, channels: set[str]) -> None:
        with self._lock:
            called = [heard for one in channels for heard in self._hearing.get(one, ())]
        for heard in called:
            heard()


def _told(connection: Connection) -> set[str]:
    """Return the channels of the notices that are there, without waiting for any.

    Also of those that came with the end of an answer, of which the socket says nothing any more.
    """
    pgconn, channels = connection.pgconn, set()
    try:
        pgconn.consume_input()
    except psycopg.OperationalError:
        connection.close()
        raise
    while (notice := pgconn.notifies()) is not None:
        channels.add(notice.relname.decode())
    return channels
