"""What the processes of a cluster have together beside jobs: keys, switches, counts, and more.

Each of these is a part, with its tables. One thread a process writes down what waits, and reads
anew what another process has changed, which a number tells. It has the connections of all parts:
who answers a request waits for PostgreSQL only where a part says so. While PostgreSQL is away a
part goes on with what it knows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from toolrunner.runner.jobs.postgres.connections import Connection, Connections, explained
from toolrunner.runner.jobs.postgres.schema import check
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.trouble import Trouble

_LOG = logging.getLogger("toolrunner.cluster")
LOOK_SECONDS = 0.5
# The thread's, and some for who cannot wait for it.
_MOST = 3
# What is older than this is said not to be known: a look is missed now and then.
_LATE_SECONDS = 3.0
_VERSIONS = "SELECT name, number FROM versions"
Versions = Mapping[str, int]


class Part(Protocol):
    """Something that all processes have together."""

    def is_due(self, versions: Versions) -> bool:
        """Whether there is something to read, by the numbers of what is there, or to write."""

    def step(self, connection: Connection, versions: Versions) -> None:
        """Read and write what is due; the connection is in no transaction."""


class Together:
    """The connections of the parts, and the thread. Thread-safe; a fork has neither."""

    def __init__(self, url: DatabaseUrl) -> None:
        """Nothing is opened before it is needed."""
        self.url = url
        self._database = Connections(url, partial(check, url), most=_MOST)
        self._parts: list[tuple[Part, Trouble]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = float("-inf")
        self._trouble: StoreError | None = None

    def add(self, part: Part, failing: str, over: str) -> None:
        """Look after a part from now on; ``failing`` and ``over`` are what the log says of it."""
        self._parts.append((part, Trouble(_LOG, StoreError, failing, over)))

    def start(self) -> None:
        """Begin to look after the parts."""
        if self._thread is None:
            self._last = time.monotonic()
            self._thread = threading.Thread(
                target=self._work, name="toolrunner-together", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Write what waits, as far as that can be, and let go of the connections."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            if self.away is None:
                with suppress(StoreError):
                    self.look()
        self._database.close()

    @property
    def away(self) -> StoreError | None:
        """Why PostgreSQL was not reached when it was last tried; ``None`` while it is."""
        if self._trouble is not None:
            return StoreError(str(self._trouble))
        if self._thread is None or time.monotonic() - self._last < _LATE_SECONDS:
            return None
        return StoreError(f"{self.url} has not answered for {_LATE_SECONDS:g} s")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hold a connection, for single statements; raises StoreError."""
        with self._database.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Hold a connection in a transaction; raises StoreError."""
        with self._database.writing() as connection:
            yield connection

    def look(self) -> None:
        """Look after all parts once; raises StoreError where PostgreSQL cannot be reached."""
        try:
            with self._database.reading() as connection:
                versions = {row["name"]: row["number"] for row in connection.execute(_VERSIONS)}
                self._last = time.monotonic()
                self._trouble = None
                for part, trouble in self._parts:
                    if part.is_due(versions):
                        trouble.attempt(partial(self._step, connection, part, versions))
        except StoreError as error:
            self._trouble = error
            raise

    def _step(self, connection: Connection, part: Part, versions: Versions) -> None:
        with explained(self.url):
            part.step(connection, versions)

    def _work(self) -> None:
        reaching = Trouble(
            _LOG,
            StoreError,
            "what the servers have together is as it was, and what is counted waits",
            "what the servers have together is read and written again",
        )
        while not self._over.wait(LOOK_SECONDS):
            # Not ever more seldom: a key may have been revoked. ``Connections`` bounds the tries.
            reaching.attempt(self.look)


def changed(connection: Connection, name: str) -> int:
    """Tell all processes that something is not what it was; return its new number.

    It is one's own to change until the transaction ends.
    """
    row = connection.execute(
        "UPDATE versions SET number = number + 1 WHERE name = %s RETURNING number", (name,)
    ).fetchone()
    assert row is not None
    return int(row["number"])
