"""Keys of a cluster: one set for all servers, known by heart, also while PostgreSQL is away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.api.http.conftest import spin
from tests.postgres import Postgres
from toolrunner.api.cluster_keys import ClusterKeys
from toolrunner.api.key import KeyRefusedError, Role
from toolrunner.api.keys import KeyStore
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.settings.database_url import DatabaseUrl

OpenKeys = Callable[[], ClusterKeys]


@pytest.fixture
def open_keys(database: str, tmp_path: Path) -> Iterator[OpenKeys]:
    """Return a function that opens the keys as one more server has them."""
    with ExitStack() as stack:

        def open_one() -> ClusterKeys:
            together = stack.enter_context(closing(Together(DatabaseUrl(database))))
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            keys = ClusterKeys(together, folder)
            together.start()
            return keys

        yield open_one


def test_a_key_of_one_server_opens_all(open_keys: OpenKeys) -> None:
    """At once, with all that it says; and its secret is kept nowhere."""
    one, other = open_keys(), open_keys()
    assert other.identify("tr_00000000_" + "A" * 43) is None
    key, token = one.create("alice", plugins=["palette", "barcode"], per_minute=5)
    spin(lambda: other.verify(token) == key)
    assert one.verify(token) == key
    assert (key.name, key.plugins, key.per_minute) == ("alice", ("barcode", "palette"), 5)
    assert other.list() == one.list() == [key]
    ops, opens = other.create("ops", role=Role.OPERATOR)
    spin(lambda: one.verify(opens) == ops)
    wrong = [
        "",
        "tr_",
        token[:-1],
        token + "x",
        token[:12] + opens[12:],
        "\x00" * 55,
        "\ud800" * 55,
    ]
    assert [text for text in wrong if one.verify(text) is not None] == []


def test_a_revoked_key_opens_none(open_keys: OpenKeys) -> None:
    """Within a second, while streams look for it as well; its name is free again."""
    one, other = open_keys(), open_keys()
    key, token = one.create("alice")
    assert other.verify(token) == key
    assert other.living([key.id, "00000000"]) == {key.id}
    revoked = one.revoke("alice")
    assert revoked is not None
    assert revoked.id == key.id
    assert one.revoke("alice") is None
    spin(lambda: not other.living([key.id]))
    found = other.identify(token)
    assert found is not None
    assert found.revoked_at is not None
    assert other.verify(token) is None
    again, _ = other.create("alice")
    assert one.has_keys()
    with pytest.raises(KeyRefusedError, match="--also"):
        one.create("alice")
    second, _ = one.create("alice", also=True)
    with pytest.raises(KeyRefusedError, match=f"by its id: {again.id} of .*, {second.id} of "):
        other.revoke("alice")


def test_servers_go_on_with_the_keys_that_they_know(
    open_keys: OpenKeys, postgres: Postgres
) -> None:
    """While PostgreSQL is away: who was known is let in, who never was is not, nobody revokes."""
    keys = open_keys()
    assert "has no key" in keys.problem()
    key, token = keys.create("alice", per_minute=2)
    assert keys.verify(token) == key
    assert keys.problem() == ""
    postgres.stop(signal.SIGQUIT)
    spin(lambda: "count not" in keys.problem())
    assert keys.verify(token) == key
    assert keys.living([key.id]) == {key.id}
    assert [keys.take(key) > 0 for _ in range(3)] == [False, False, True]
    with pytest.raises(OSError, match="see that PostgreSQL runs"):
        keys.identify("tr_00000000_" + "A" * 43)
    with pytest.raises(OSError, match="see that PostgreSQL runs"):
        keys.revoke("alice")
    unborn = open_keys()
    assert unborn.problem().startswith("nobody is let in: ")
    with pytest.raises(OSError, match="see that PostgreSQL runs"):
        unborn.identify(token)
    postgres.start()
    spin(lambda: not keys.problem())
    spin(lambda: not unborn.problem())
    assert unborn.verify(token) == key
    assert keys.identify("tr_00000000_" + "A" * 43) is None


def test_a_rate_holds_over_all_servers(open_keys: OpenKeys) -> None:
    """A minute's worth at once, wherever it is asked for."""
    one, other = open_keys(), open_keys()
    slow, _ = one.create("slow", per_minute=1)
    assert [server.take(slow) > 0 for server in (one, other, one)] == [False, True, True]
    fast, _ = one.create("fast", per_minute=1200)
    # Ten at once are taken for each, and those that are not spent within a second go back.
    assert sum(not server.take(fast) for server in (one, other) * 700) >= 1180
    free, _ = one.create("free")
    assert one.take(free) == 0


def test_the_keys_of_a_folder_are_taken_along(open_keys: OpenKeys, tmp_path: Path) -> None:
    """With their tokens, revoked ones too; again changes nothing but what was revoked since."""
    with closing(KeyStore(tmp_path / "state")) as folder:
        alice, token = folder.create("alice", plugins=["palette"], per_minute=7)
        ops, opens = folder.create("ops", role=Role.OPERATOR)
        gone, lost = folder.create("gone")
        folder.revoke("gone")
        keys, other = open_keys(), open_keys()
        assert keys.take_along(folder.kept()) == 3
        assert (other.verify(token), other.verify(opens)) == (alice, ops)
        known = other.identify(lost)
        assert known is not None
        assert known.id == gone.id
        assert known.revoked_at is not None
        assert keys.revoke(alice.id) is not None
        folder.revoke("ops")
        assert keys.take_along(folder.kept()) == 0
        assert [key.revoked_at is None for key in keys.list()] == [False, False, False]
