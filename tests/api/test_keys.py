"""Keys: made once, checked always, revoked for good; rates that all processes share."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from toolrunner.api.keys import MOST_PER_MINUTE, KeyRefusedError, KeyStore

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    """A store without keys."""
    with closing(KeyStore(tmp_path / "state")) as found:
        yield found


def test_a_token_opens_what_its_key_opens(store: KeyStore) -> None:
    """And says whose it is."""
    key, token = store.create("alice", plugins=["palette", "barcode"], per_minute=5)
    assert store.verify(token) == key
    assert (key.name, key.plugins, key.per_minute) == ("alice", ("barcode", "palette"), 5)
    assert store.list() == [key]


def test_no_other_token_opens_anything(store: KeyStore) -> None:
    """Neither with another secret, nor another id, nor anything that is no token."""
    _key, token = store.create("alice")
    other = store.create("bob")[1]
    wrong = [
        "",
        "tr_",
        token[:-1],
        token + "x",
        token[:12] + other[12:],
        other[:12] + token[12:],
        token.upper(),
        f"tr_{'0' * 8}_{'A' * 43}",
        "\x00" * 55,
        "ü" * 55,
        "\ud800" * 55,
    ]
    assert [text for text in wrong if store.verify(text)] == []


def test_the_secret_is_kept_nowhere(store: KeyStore, tmp_path: Path) -> None:
    """Only its digest; and the file is its owner's alone."""
    token = store.create("alice")[1]
    for file in (tmp_path / "state").iterdir():
        assert token[12:].encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_a_revoked_key_opens_nothing_any_more(store: KeyStore, tmp_path: Path) -> None:
    """Also in a process that knew it already; its name is free again."""
    key, token = store.create("alice")
    with closing(KeyStore(tmp_path / "state")) as other:
        assert other.verify(token) is not None
        revoked = store.revoke("alice")
        assert revoked is not None
        assert revoked.id == key.id
        assert other.verify(token) is None
    assert not store.has_keys()
    assert store.revoke("alice") is None
    assert store.revoke(key.id) is None
    again, _token = store.create("alice")
    assert store.has_keys()
    assert store.revoke(again.id) is not None


@pytest.mark.parametrize("name", ["", "x y", "-x", "ü", "a" * 65, "0123abcd"])
def test_what_cannot_be_a_name_is_refused(store: KeyStore, name: str) -> None:
    """Nor what could be taken for an id."""
    with pytest.raises(KeyRefusedError, match="cannot be a key's name"):
        store.create(name)


@pytest.mark.parametrize("rate", [0, -1, MOST_PER_MINUTE + 1])
def test_a_rate_that_is_none_is_refused(store: KeyStore, rate: int) -> None:
    """Nothing a minute is revoking it."""
    with pytest.raises(KeyRefusedError, match="requests a minute"):
        store.create("alice", per_minute=rate)


def test_two_living_keys_cannot_share_a_name(store: KeyStore) -> None:
    """Or revoking by name would be a guess."""
    store.create("alice")
    with pytest.raises(KeyRefusedError, match="already"):
        store.create("alice")


def test_a_rate_is_kept(store: KeyStore) -> None:
    """A minute's worth at once, then a wait; a key without one never waits."""
    free, _token = store.create("free")
    assert {store.take(free) for _ in range(50)} == {0.0}
    key, _token = store.create("slow", per_minute=3)
    assert [store.take(key) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert 0 < store.take(key) <= 20


def test_a_rate_comes_back_with_time(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly, and never more than a minute's worth; a clock that is set back takes nothing away."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    key, _token = store.create("slow", per_minute=6)
    while not store.take(key):
        pass
    now += 10.5
    assert store.take(key) == 0.0
    assert store.take(key) > 0
    now -= 1_000_000
    assert store.take(key) > 0
    now += 10.5
    assert store.take(key) == 0.0
    now += 1_000_000
    assert [store.take(key) for _ in range(6)] == [0.0] * 6
    assert store.take(key) > 0


def test_a_rate_is_of_all_processes_together(store: KeyStore, tmp_path: Path) -> None:
    """Four that take as fast as they can get no more than one would."""
    key, _token = store.create("shared", per_minute=60)
    reader, writer = FORK.Pipe(duplex=False)

    def work() -> None:
        with closing(KeyStore(tmp_path / "state")) as mine:
            writer.send(sum(mine.take(key) == 0.0 for _ in range(40)))

    processes = [FORK.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    taken = sum(reader.recv() for _ in processes)
    for process in processes:
        process.join()
    # One comes back each second.
    assert 60 <= taken < 120


def test_a_file_of_another_version_is_refused(store: KeyStore, tmp_path: Path) -> None:
    """Rather than read wrongly."""
    store.create("alice")
    with closing(sqlite3.connect(tmp_path / "state" / "keys.sqlite3")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match="another version"):
        KeyStore(tmp_path / "state")


def test_the_commands_make_list_and_revoke(cli: Cli, tmp_path: Path) -> None:
    """The token alone is on stdout, once; the list has no secret in it."""
    state = ("--state", str(tmp_path / "state"))
    made = cli(*state, "keys", "create", "shop", "--plugin", "barcode", "--per-minute", "9")
    assert made.status == 0, made.err
    token = made.out.strip()
    with closing(KeyStore(tmp_path / "state")) as store:
        key = store.verify(token)
    assert key is not None
    assert (key.plugins, key.per_minute) == (("barcode",), 9)
    listed = cli(*state, "keys", "list", "--json")
    [row] = json.loads(listed.out)
    assert (row["name"], row["plugins"], row["revoked_at"]) == ("shop", ["barcode"], None)
    assert token[12:] not in listed.out + cli(*state, "keys", "list").out
    assert cli(*state, "keys", "revoke", "shop").status == 0
    again = cli(*state, "keys", "revoke", "shop")
    assert again.status == 2
    assert "keys list" in again.err
    refused = cli(*state, "keys", "create", "a b")
    assert (refused.status, refused.out) == (2, "")
