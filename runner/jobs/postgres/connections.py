"""The connections of this process to PostgreSQL, and what is wrong with it, in words.

A few are open, each for one step at a time. What fails is a StoreError; every wait has a bound, and
what is broken is opened anew by who needs it next.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.string import StrDumper

from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.sandbox import forks

# Nothing else of what the library says of a URL is repeated: it may be a part of a password.
_UNKNOWN_PARAMETER = re.compile(r'invalid URI query parameter: "([A-Za-z_]{1,40})"')
Connection = psycopg.Connection[dict[str, Any]]
T = TypeVar("T")

SCHEMA = "toolrunner"
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
_LOCK_SECONDS = 5
# By how much longer than the server a client waits: one that has no answer by then has no server.
_GRACE_SECONDS = 2
_WAIT_SECONDS = 10.0
_MOST = 8
# Within it, a server that has refused is not asked again; nobody waits for it meanwhile.
_RETRY_SECONDS = 1.0
# What was idle for so long is tried before it is used: its server may have been started anew.
_IDLE_SECONDS = 1.0
# A machine that is gone is noticed by the other end within 11 s, and its locks are free.
_SERVERS = {
    "search_path": SCHEMA,
    "lock_timeout": f"{_LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
    "default_transaction_isolation": r"read\ committed",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
_OURS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "toolrunner",
}


class _Text(StrDumper):
    """Text as PostgreSQL can hold it: what it cannot is in no row, and so is not found."""

    def dump(self, obj: str) -> bytes:
        """Return the bytes of a text."""
        return obj.replace("\0", "\ufffd").encode("utf-8", "replace")


class _Bounded(psycopg.Connection[dict[str, Any]]):
    """A connection that waits for no answer for ever, whoever keeps its other end open."""

    patience_seconds: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer, and close the connection if there is none in time."""
        try:
            return super().wait(
                gen, interval, self.patience_seconds if timeout is None else timeout
            )
        except psycopg.OperationalError:
            if timeout is None and self.info.transaction_status is TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def connect(
    url: DatabaseUrl, *, statement_seconds: int = STATEMENT_SECONDS, **settings: str
) -> Connection:
    """Open a connection without a transaction; ``settings`` are the session's. Raises StoreError.

    No statement takes longer than that, also where the server does not end it; 0: as it takes.

    What the URL says of timeouts and the like wins over what is said here.
    """
    try:
        given: dict[str, Any] = dict(conninfo_to_dict(url.secret))
    except psycopg.ProgrammingError as error:
        message = f"`jobs` in the settings is no URL that PostgreSQL's library can read: {url}"
        if unknown := _UNKNOWN_PARAMETER.search(str(error)):
            message += f" (it knows no parameter {unknown[1]!r})"
        raise StoreError(errno.EINVAL, message) from None
    with explained(url):
        ours = {**_SERVERS, "statement_timeout": f"{statement_seconds}s", **settings}
        options = [f"-c {name}={value}" for name, value in ours.items()]
        given["options"] = " ".join([*options, str(given.get("options") or "")])
        # Texts are sent as UTF-8, whatever the database or the environment prefers.
        conninfo = make_conninfo(**{**_OURS, **given, "client_encoding": "utf8"})
        connection = _Bounded.connect(conninfo, autocommit=True, row_factory=dict_row)
        if statement_seconds:
            connection.patience_seconds = statement_seconds + _GRACE_SECONDS
        connection.adapters.register_dumper(str, _Text)
        return connection


class Opener:
    """Opens connections to a database that can be used, and asks none often that has refused."""

    def __init__(self, url: DatabaseUrl, check: Callable[[Connection], None]) -> None:
        """``check`` is asked of each new one whether its database can be used."""
        self._url = url
        self._check = check
        self.begin()

    def begin(self) -> None:
        """Forget what has been refused."""
        self._failed: tuple[float, StoreError] | None = None

    def open(self, prepare: Callable[[Connection], None] | None = None) -> Connection:
        """Return one that has been prepared; raises StoreError, the same again for a moment."""
        failed = self._failed
        if failed is not None and time.monotonic() < failed[0]:
            raise StoreError(failed[1].errno, str(failed[1]))
        try:
            connection = connect(self._url)
            try:
                with explained(self._url):
                    self._check(connection)
                    if prepare is not None:
                        prepare(connection)
            except BaseException:
                connection.close()
                raise
        except StoreError as error:
            self._failed = (time.monotonic() + _RETRY_SECONDS, error)
            raise
        self._failed = None
        return connection


class Connections:
    """Those of one process. Thread-safe; a fork has none of them."""

    def __init__(
        self, url: DatabaseUrl, check: Callable[[Connection], None], *, most: int = _MOST
    ) -> None:
        """``check`` is asked of each new one whether its database can be used."""
        self.url = url
        self._opener = Opener(url, check)
        self._most = most
        self._begin()
        forks.in_each_child(self, Connections._in_child)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._most)
        self._idle: list[tuple[float, Connection]] = []
        self._opener.begin()
        self._is_closed = False

    def _in_child(self) -> None:
        for _, connection in self._idle:
            let_go_of_copy(connection)
        self._begin()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hold a connection, for single statements."""
        if not self._places.acquire(timeout=_WAIT_SECONDS):
            message = f"all {self._most} connections to {self.url} are in use; try again"
            raise StoreError(errno.EBUSY, message)
        try:
            connection = self._take()
            try:
                with explained(self.url), _unless_changed(connection):
                    yield connection
            finally:
                self._put_back(connection)
        finally:
            self._places.release()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Hold a connection in a transaction: what is done is done whole, or not at all."""
        with self.reading() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close those that are idle, and open no more."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                if self._is_closed:
                    message = "the job store is closed"
                    raise StoreError(errno.EBADF, message)
                if not self._idle:
                    break
                since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_SECONDS or _works(connection):
                return connection
            connection.close()
        return self._opener.open()

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            # In another state, as in the middle of an answer, nobody else finds it.
            is_at_rest = connection.info.transaction_status is TransactionStatus.IDLE
            if is_at_rest and not self._is_closed:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


@contextmanager
def _unless_changed(connection: Connection) -> Iterator[None]:
    """Close a connection that remembers statements of tables that are others by now."""
    try:
        yield
    except errors.FeatureNotSupported:
        connection.close()
        raise


def _works(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def let_go_of_copy(connection: Connection) -> None:
    """In a fork: close its copy of a connection, which would keep it open beyond its owner's end.

    Nothing may be said to the server, so the number stays, and is of no file.
    """
    with suppress(psycopg.Error, OSError):
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, connection.fileno(), inheritable=False)
        os.close(nothing)


@contextmanager
def explained(url: DatabaseUrl) -> Iterator[None]:
    """Turn what PostgreSQL refuses into what can be done about it; bugs of ours stay what they are.

    Procrastinate wraps what a connection of ours has raised.
    """
    try:
        yield
    except ConnectorException as wrapped:
        cause = wrapped.__cause__
        if isinstance(cause, psycopg.Error) and (told := _told(url, cause)) is not None:
            raise told from None
        raise
    except psycopg.Error as error:
        if (told := _told(url, error)) is not None:
            # Not even a traceback may have what a library says of a URL.
            raise told from None
        raise


def _told(url: DatabaseUrl, error: psycopg.Error) -> StoreError | None:
    words = url.harmless(" ".join(str(error).split()))
    match error:
        case errors.ReadOnlySqlTransaction():
            return read_only(url)
        case errors.DiskFull():
            return StoreError(errno.ENOSPC, f"the disk of {url} is full; make room there")
        case errors.QueryCanceled() | errors.LockNotAvailable():
            return StoreError(
                errno.ETIMEDOUT,
                f"{url} did not answer within its time ({words}); see what it is busy with",
            )
        case errors.InsufficientPrivilege():
            return StoreError(
                errno.EACCES,
                f"{url} lets this user not do what is needed ({words}): let it own its schema"
                f" {SCHEMA}",
            )
        case errors.FeatureNotSupported():
            return StoreError(errno.EIO, f"the tables of {url} have changed ({words}); try again")
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.UndefinedFunction():
            return StoreError(
                errno.EIO, f"{url} has not all tables of jobs ({words}): run `toolrunner migrate`"
            )
        case (
            psycopg.ProgrammingError()
            | psycopg.DataError()
            | psycopg.NotSupportedError()
            | psycopg.IntegrityError()
        ):
            return None
        case _:
            return StoreError(
                errno.EIO,
                f"{url} cannot be used ({words}): see that PostgreSQL runs and can be reached, and"
                " that `jobs` in the settings is right; what was asked for can be tried again",
            )


def read_only(url: DatabaseUrl) -> StoreError:
    """Return what is said of a server that takes no changes."""
    return StoreError(
        errno.EROFS,
        f"{url} is read-only, as a replica is, also while another one takes over: let `jobs` in the"
        " settings name the server that can be written",
    )
