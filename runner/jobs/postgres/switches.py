"""The operator's word on each plugin, and which workers have it, for all servers of a cluster.

What the operator has said is a row for each plugin. Each server keeps it in its own state folder as
well, where calls look: so it holds while PostgreSQL is away, and after a restart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.membership import LATE_SECONDS
from toolrunner.runner.jobs.postgres.together import Together, Versions, changed
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.registry.offers import MaybeOffers, Offer
from toolrunner.runner.registry.suspensions import Standing, SuspendedBy

_LOG = logging.getLogger("toolrunner.registry")
_NAME = "switches"
_SAY = """
INSERT INTO switches (plugin, is_suspended, number) SELECT plugin, %s, %s
FROM unnest(%s::text[]) AS plugin
ON CONFLICT (plugin) DO UPDATE SET is_suspended = excluded.is_suspended, number = excluded.number
"""
_OFFERS = """
SELECT plugin, host, version, count(*) AS workers FROM offers JOIN workers USING (worker)
WHERE heartbeat > clock_timestamp() - make_interval(secs => %s)
GROUP BY plugin, host, version ORDER BY plugin, host, version
"""


class Local(Protocol):
    """The plugins of this process, which go by what is said."""

    def hear(self, name: str, *, is_suspended: bool, is_news: bool) -> None:
        """Go by the operator's word on a plugin; one that is news ends the breaker's as well."""

    def word_on(self, name: str) -> Standing:
        """Return how a plugin stands here."""


class ClusterSwitches:
    """What was said of all plugins. Thread-safe."""

    def __init__(self, together: Together, local: Local) -> None:
        """``local`` hears of everything that is said."""
        self._together = together
        self._local = local
        self._lock = threading.Lock()
        self._version: int | None = None
        self._known: Mapping[str, tuple[bool, int]] = {}
        together.add(
            self,
            "plugins are suspended as they were: what the operator says now is not known here",
            "what the operator says of plugins is heard again",
        )

    def is_due(self, versions: Versions) -> bool:
        """Whether something was said, or is not gone by here, as after a full disk."""
        return versions.get(_NAME) != self._version or any(
            self._differs(name, is_suspended=word) for name, (word, _) in self._known.items()
        )

    def _differs(self, name: str, *, is_suspended: bool) -> bool:
        by_operator = self._local.word_on(name).suspended_by == SuspendedBy.OPERATOR
        return by_operator != is_suspended

    def step(self, connection: Connection, versions: Versions) -> None:
        """Read what was said, and go by it."""
        with self._lock:
            rows = connection.execute("SELECT plugin, is_suspended, number FROM switches")
            now = {row["plugin"]: (row["is_suspended"], row["number"]) for row in rows}
            for name, (word, number) in now.items():
                # What was said before this process was there has had its effect on the breaker.
                old = self._known.get(name, (word, 0))
                is_news = self._version is not None and old[1] != number
                if is_news or self._differs(name, is_suspended=word):
                    self._local.hear(name, is_suspended=word, is_news=is_news)
            self._known, self._version = now, versions.get(_NAME)

    def say(self, names: Sequence[str], *, is_suspended: bool) -> None:
        """Take no calls of plugins anywhere, or take them again; raises StoreError."""
        with self._lock:
            with self._together.writing() as connection:
                number = changed(connection, _NAME)
                connection.execute(_SAY, (is_suspended, number, list(names)))
            for name in names:
                self._local.hear(name, is_suspended=is_suspended, is_news=True)

    def offers(self) -> MaybeOffers:
        """Return who takes jobs of which plugins; ``None`` while nobody can tell."""
        if self._together.away is not None:
            return None
        try:
            with self._together.reading() as connection:
                rows = connection.execute(_OFFERS, (LATE_SECONDS,)).fetchall()
                suspended = connection.execute("SELECT plugin FROM switches WHERE is_suspended")
                found: dict[str, tuple[Offer, ...]] = {row["plugin"]: () for row in suspended}
        except StoreError as error:
            _LOG.warning("where else plugins are is not known: %s", error)
            return None
        for row in rows:
            offer = Offer(row["host"], row["version"], row["workers"])
            found[row["plugin"]] = (*found.get(row["plugin"], ()), offer)
        return found
