"""Sessions of a cluster: a browser may ask any of its servers."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from toolrunner.api.cluster_sessions import ClusterSessions
from toolrunner.api.session import IDLE_SECONDS, MOST_OF_A_KEY, MOST_SECONDS
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.settings.database_url import DatabaseUrl


def test_a_session_of_one_server_is_one_of_all(database: str) -> None:
    """Until it has ended at any of them; and its token is kept nowhere."""
    with (
        closing(Together(DatabaseUrl(database))) as a,
        closing(Together(DatabaseUrl(database))) as b,
    ):
        one, other = ClusterSessions(a), ClusterSessions(b)
        token, more = one.begin("k"), other.begin("k")
        assert token != more
        assert [other.found(token), one.found(more)] == ["k", "k"]
        other.end(token)
        assert [one.found(token), one.found(more)] == ["", "k"]
        for wrong in ("", "trs_", more + "x", "\ud800", "\x00" * 47):
            assert one.found(wrong) == ""
            one.end(wrong)
        tokens = [one.begin("many") for _ in range(MOST_OF_A_KEY + 1)]
        assert [other.found(each) for each in tokens] == ["", *["many"] * MOST_OF_A_KEY]


@pytest.mark.parametrize(("column", "seconds"), [("began", MOST_SECONDS), ("seen", IDLE_SECONDS)])
def test_it_ends_by_its_age(database: str, column: str, seconds: float) -> None:
    """By PostgreSQL's own clock; the next that begins sweeps it away."""
    with closing(Together(DatabaseUrl(database))) as together:
        sessions = ClusterSessions(together)
        token = sessions.begin("k")
        with together.writing() as connection:
            connection.execute(
                psycopg.sql.SQL("UPDATE sessions SET {0} = {0} - %s").format(
                    psycopg.sql.Identifier(column)
                ),
                (seconds + 1,),
            )
        assert sessions.found(token) == ""
        sessions.begin("another")
        with together.reading() as connection:
            rows = connection.execute("SELECT key FROM sessions").fetchall()
        assert [row["key"] for row in rows] == ["another"]


def test_who_asks_is_not_idle(database: str) -> None:
    """Whatever is asked for begins the hour anew."""
    with closing(Together(DatabaseUrl(database))) as together:
        sessions = ClusterSessions(together)
        token = sessions.begin("k")
        for _ in range(3):
            with together.writing() as connection:
                connection.execute("UPDATE sessions SET seen = seen - %s", (IDLE_SECONDS - 100,))
            assert sessions.found(token) == "k"
