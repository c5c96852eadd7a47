"""Sessions in the database of several machines: a browser may ask any server.

What a session is stands in ``session``. While PostgreSQL is away nobody is signed in.
"""

from __future__ import annotations

from contextlib import suppress

from toolrunner.api.session import (
    IDLE_SECONDS,
    MOST_OF_A_KEY,
    MOST_SECONDS,
    NOTE_SECONDS,
    digest_of,
    is_over,
    new_token,
)
from toolrunner.runner.jobs.postgres.session_rows import SessionRows
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.jobs.store import StoreError


class ClusterSessions:
    """The sessions of a cluster; see ``Sessions`` for what each method does."""

    def __init__(self, together: Together) -> None:
        self._rows = SessionRows(together)

    def begin(self, key_id: str) -> str:
        token = new_token()
        digest = digest_of(token)
        assert digest is not None
        self._rows.add(
            digest,
            key_id,
            most_seconds=MOST_SECONDS,
            idle_seconds=IDLE_SECONDS,
            most_of_a_key=MOST_OF_A_KEY,
        )
        return token

    def found(self, token: str) -> str:
        digest = digest_of(token)
        one = None if digest is None else self._rows.found(digest)
        if one is None or digest is None or is_over(one.now, one.began, one.seen):
            return ""
        if one.now - one.seen > NOTE_SECONDS:
            with suppress(StoreError):  # it ends sooner than it would have
                self._rows.note(digest)
        return one.key

    def end(self, token: str) -> None:
        digest = digest_of(token)
        if digest is not None:
            self._rows.end(digest)

    def close(self) -> None:
        """Do nothing: the connections are whose who has made them."""
