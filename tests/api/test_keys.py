"""Keys: made once, checked always, revoked for good; rates that all processes share."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.conftest import Cli, common_environment
from toolrunner.api.keys import MOST_PER_MINUTE, KeyRefusedError, KeyStore, Role

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


def test_a_second_key_of_a_name_is_made_where_that_is_asked_for(
    store: KeyStore, tmp_path: Path
) -> None:
    """Both open; which one is revoked has to be said by its id; also after a restart."""
    old, first = store.create("alice")
    new, second = store.create("alice", also=True)
    with closing(KeyStore(tmp_path / "state")) as again:
        assert [again.verify(token) for token in (first, second)] == [old, new]
        with pytest.raises(KeyRefusedError, match=f"by its id: {old.id} of .*, {new.id} of "):
            again.revoke("alice")
        with pytest.raises(KeyRefusedError, match="--also"):
            again.create("alice")
        assert again.revoke(old.id) is not None
        assert (again.verify(first), again.verify(second)) == (None, new)
        assert again.revoke("alice") is not None


def test_a_file_of_a_version_that_knew_one_key_a_name_takes_a_second(
    store: KeyStore, tmp_path: Path
) -> None:
    """It goes on refusing one that was not asked for."""
    store.create("alice")
    with closing(sqlite3.connect(tmp_path / "state" / "keys.sqlite3")) as database:
        database.execute("CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked IS NULL")
    with closing(KeyStore(tmp_path / "state")) as opened:
        with pytest.raises(KeyRefusedError, match="already"):
            opened.create("alice")
        opened.create("alice", also=True)
        assert len(opened.list()) == 2


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
    """Four that take as fast as they can get exactly what one would."""
    key, _token = store.create("shared", per_minute=1200)
    reader, writer = FORK.Pipe(duplex=False)

    def work() -> None:
        with closing(KeyStore(tmp_path / "state")) as mine:
            writer.send(sum(mine.take(key) == 0.0 for _ in range(2000)))

    started = time.time()
    processes = [FORK.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    taken = sum(reader.recv() for _ in processes)
    for process in processes:
        process.join()
    came_back = 20 * (time.time() - started)
    assert 1200 <= taken <= 1200 + came_back


def test_a_file_of_another_version_is_refused(store: KeyStore, tmp_path: Path) -> None:
    """Rather than read wrongly."""
    store.create("alice")
    with closing(sqlite3.connect(tmp_path / "state" / "keys.sqlite3")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match="another version"):
        KeyStore(tmp_path / "state")


def test_counting_a_request_does_not_wait_for_the_disk(store: KeyStore, tmp_path: Path) -> None:
    """A count that a crash of the host may lose is worth no sync; nothing else is written."""
    key, _token = store.create("busy", per_minute=1000)
    before = files_of(tmp_path / "state", "keys.sqlite3*")
    assert {store.take(key) for _ in range(100)} == {0.0}
    assert files_of(tmp_path / "state", "keys.sqlite3*") == before
    [bucket] = (tmp_path / "state" / "rates").iterdir()
    assert bucket.stat().st_size == 16
    store.revoke("busy")
    assert not bucket.exists()


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 16, b"\xff" * 4096])
def test_a_piece_of_a_count_is_a_full_minute(store: KeyStore, tmp_path: Path, data: bytes) -> None:
    """What a crash of the host has left keeps nobody out, and lets nobody ask without end."""
    key, _token = store.create("slow", per_minute=3)
    store.take(key)
    (tmp_path / "state" / "rates" / key.id).write_bytes(data)
    assert [store.take(key) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert store.take(key) > 0


def test_a_rate_that_cannot_be_written_is_kept_by_each_process(
    store: KeyStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, once for a key."""
    (tmp_path / "state" / "rates").write_text("in the way")
    key, _token = store.create("slow", per_minute=3)
    assert [store.take(key) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert store.take(key) > 0
    [record] = caplog.records
    assert key.id in record.message


def files_of(folder: Path, pattern: str) -> dict[str, bytes]:
    """Return the content of files by their names."""
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


def test_a_key_has_a_role(store: KeyStore) -> None:
    """A caller's, unless an operator's was asked for; which no plugins narrow."""
    assert store.create("alice")[0].role is Role.CALLER
    key, token = store.create("ops", role=Role.OPERATOR)
    assert key.role is Role.OPERATOR
    assert store.verify(token) == key
    with pytest.raises(KeyRefusedError, match="all plugins"):
        store.create("half", plugins=["barcode"], role=Role.OPERATOR)


def test_keys_from_before_there_were_roles_are_callers(store: KeyStore, tmp_path: Path) -> None:
    """They open what they opened, and a version that knows of no roles still reads the file."""
    _key, token = store.create("alice", plugins=["barcode"])
    path = tmp_path / "state" / "keys.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE keys DROP COLUMN role")
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(KeyStore(tmp_path / "state")) as opened:
        key = opened.verify(token)
        assert key is not None
        assert (key.name, key.plugins, key.role) == ("alice", ("barcode",), Role.CALLER)
        opened.create("ops", role=Role.OPERATOR)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(KeyStore(tmp_path / "state")) as again:
        assert [one.role for one in again.list()] == [Role.CALLER, Role.OPERATOR]


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
    assert row["role"] == "caller"
    assert token[12:] not in listed.out + cli(*state, "keys", "list").out
    assert cli(*state, "keys", "revoke", "shop").status == 0
    again = cli(*state, "keys", "revoke", "shop")
    assert again.status == 2
    assert "keys list" in again.err
    late = cli(*state, "keys", "revoke", "shop", "--cancel-jobs")
    assert late.status == 2
    assert "toolrunner jobs cancel --all --caller shop" in " ".join(late.err.split())
    assert cli(*state, "keys", "create", "shop").status == 0
    assert cli(*state, "keys", "create", "shop").status == 2
    assert cli(*state, "keys", "create", "shop", "--also").status == 0
    assert cli(*state, "keys", "revoke", "shop").status == 2
    refused = cli(*state, "keys", "create", "a b")
    assert (refused.status, refused.out) == (2, "")


def test_a_key_for_a_plugin_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    """With the likely one, before anything is made; --force makes it all the same."""
    create = ("--state", str(tmp_path / "state"), "keys", "create", "shop")
    refused = cli(*create, "--plugin", "palette", "--plugin", "barcoed")
    assert (refused.status, refused.out) == (2, "")
    assert "did you mean 'barcode'?" in refused.err
    assert "--force" in refused.err
    assert not (tmp_path / "state" / "keys.sqlite3").exists()
    assert cli(*create, "--plugin", "barcoed", "--force").status == 0


def test_keys_from_before_there_were_roles_are_read_as_they_are(
    cli: Cli, store: KeyStore, tmp_path: Path
) -> None:
    """A server of that version may run: what only reads, or revokes, adds nothing to the file."""
    store.create("alice")
    path = tmp_path / "state" / "keys.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE keys DROP COLUMN role")
    state = ("--state", str(tmp_path / "state"), "--json")
    [[listed]] = cli(*state, "keys", "list").documents
    assert (listed["name"], listed["role"]) == ("alice", "caller")
    assert cli(*state, "keys", "revoke", "alice").status == 0
    with closing(sqlite3.connect(path)) as database:
        assert "role" not in [row[1] for row in database.execute("PRAGMA table_info(keys)")]


def test_a_damaged_file_is_named_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    """By each command, as the host's fault."""
    file = tmp_path / "state" / "keys.sqlite3"
    file.parent.mkdir()
    file.write_bytes(b"\xff" * 8192)
    for words in (("list",), ("create", "alice"), ("revoke", "alice")):
        refused = cli("--state", str(tmp_path / "state"), "keys", *words)
        said = " ".join(refused.err.split())
        assert (refused.status, refused.out) == (3, "")
        assert f"{file} is damaged (file is not a database): put a copy of it back" in said


def test_a_limit_on_the_size_of_files_is_told_as_such(cli: Cli, tmp_path: Path) -> None:
    """No right that the user could be given helps against it."""
    state = tmp_path / "state"
    assert cli("--state", str(state), "keys", "create", "alice").status == 0
    limit = ["prlimit", "--fsize=4096:4096", sys.executable, "-P", "-m", "toolrunner"]
    done = subprocess.run(
        [*limit, "--state", str(state), "keys", "create", "bob"],
        capture_output=True,
        text=True,
        check=False,
        env=common_environment(),
    )
    said = " ".join(done.stderr.split())
    assert (done.returncode, f"{state / 'keys.sqlite3'} cannot be used" in said) == (3, True), said
    assert "ulimit -f" in said
    assert "let the user" not in said
