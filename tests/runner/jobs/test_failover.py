"""PostgreSQL goes on, as another run of it or another server: that is nobody's death."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.postgres import Postgres, programs
from tests.runner.jobs.conftest import Store
from tests.runner.jobs.test_store import added, claimed, lost, seen
from tests.runner.waiting import spin
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.postgres.schema import migrate
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.settings.database_url import DatabaseUrl


def opened(url: DatabaseUrl, folder: Path) -> PostgresJobStore:
    """Return the jobs of a database, as another process would have them."""
    return PostgresJobStore(url, folder, max_pending=10, keep_seconds=3600.0, keep_bytes=1 << 30)


def test_a_crash_in_postgresql_is_nobodys_death(postgres: Postgres, tmp_path: Path) -> None:
    """It ends all connections, and so all locks: also those of who lives, and is back soon."""
    with ExitStack() as stack:
        url = DatabaseUrl(stack.enter_context(postgres.database()))
        store = stack.enter_context(closing(opened(url, tmp_path)))
        other = stack.enter_context(closing(opened(url, tmp_path)))
        job = added(store)
        claim = claimed(store)
        _age(url.secret)
        with closing(psycopg.connect(url.secret)) as witness:
            with closing(psycopg.connect(url.secret)) as victim:
                os.kill(victim.info.backend_pid, signal.SIGKILL)
            spin(lambda: _is_broken(witness))
        spin(lambda: _takes_connections(url.secret))  # not before all that were there are gone
        spin(lambda: _answers(other))
        spin(lambda: _answers(store))
        assert other.recover(lost) == 0
        assert store.finish(claim, JobStatus.SUCCESS, result={"n": 1})
        assert seen(store, job.id).status is JobStatus.SUCCESS


def test_a_server_that_says_nothing_is_away(postgres: Postgres, tmp_path: Path) -> None:
    """As behind a proxy that outlives it: who waits gives up, and the next one connects anew."""
    with ExitStack() as stack:
        url = DatabaseUrl(stack.enter_context(postgres.database()))
        store = stack.enter_context(closing(opened(url, tmp_path)))
        store.counts()
        with store._database.reading() as connection:
            silent = connection.info.backend_pid
            connection.patience_seconds = 0.5  # type: ignore[attr-defined]  # of ours alone
        os.kill(silent, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="wait timeout expired"):
                store.counts()
            assert set(store.counts().values()) == {0}
        finally:
            os.kill(silent, signal.SIGCONT)


def test_tables_that_change_meanwhile_are_found_again(postgres: Postgres, tmp_path: Path) -> None:
    """A connection remembers how a statement is done, which holds no more then."""
    with ExitStack() as stack:
        url = DatabaseUrl(stack.enter_context(postgres.database()))
        store = stack.enter_context(closing(opened(url, tmp_path)))
        job = added(store)
        for _ in range(8):
            assert seen(store, job.id).status is JobStatus.PENDING
        with psycopg.connect(url.secret, autocommit=True) as other:
            other.execute("ALTER TABLE toolrunner.jobs ADD COLUMN another integer")
        with pytest.raises(StoreError, match="have changed"):
            store.get(job.id)
        assert seen(store, job.id).status is JobStatus.PENDING


def test_texts_are_utf_8_in_any_database(postgres: Postgres, tmp_path: Path) -> None:
    """Also in one that knows no encoding."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.database())
        name = f"{conninfo_to_dict(server)['dbname']}_ascii"
        with psycopg.connect(server, autocommit=True) as connection:
            kind = "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
            connection.execute(f"CREATE DATABASE {name} {kind}".encode())
        try:
            url = DatabaseUrl(server.replace(str(conninfo_to_dict(server)["dbname"]), name))
            migrate(url)
            with closing(opened(url, tmp_path)) as store:
                job = added(store, caller="ü — €")
                assert seen(store, job.id).caller == "ü — €"
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _age(url: str) -> None:
    """Let it be long ago that this run of a server was first seen."""
    with psycopg.connect(url, autocommit=True) as database:
        aged = database.execute("UPDATE toolrunner.notes SET value = 0 WHERE name LIKE 'run%'")
        assert aged.rowcount == 1


def _is_broken(connection: psycopg.Connection[object]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def _takes_connections(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _answers(store: Store) -> bool:
    try:
        store.counts()
    except StoreError:
        return False
    return True


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A server with the tables, and a standby that has all that it has committed."""
    bin_folder = programs()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="postgres-") as name:
        folder = Path(name)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        first = Postgres(folder / "1", bin_folder)
        first.make()
        try:
            first.start()
            migrate(DatabaseUrl(first.url()))
            second = Postgres(folder / "2", bin_folder)
            first.copy_to(second)
            second.start()
            try:
                with psycopg.connect(first.url(), autocommit=True) as database:
                    database.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                    database.execute("SELECT pg_reload_conf()")
                yield first, second
            finally:
                second.stop()
        finally:
            first.stop()


def test_a_standby_that_takes_over_loses_nothing(
    pair: tuple[Postgres, Postgres], tmp_path: Path
) -> None:
    """It refuses changes at first. Then who ran a job ends it, and no other process has it."""
    first, second = pair
    url = DatabaseUrl(f"{first.url()},{second.folder}")
    with closing(opened(url, tmp_path)) as store, closing(opened(url, tmp_path)) as other:
        job, waiting = added(store), added(store)
        claim = claimed(store)
        _age(first.url())
        first.stop(signal.SIGKILL)
        spin(lambda: _refuses(store) and _refuses(other))
        assert seen(other, job.id).status is JobStatus.RUNNING
        with psycopg.connect(second.url(), autocommit=True) as database:
            database.execute("SELECT pg_promote()")
        spin(lambda: not _refuses(store))
        assert other.recover(lost) == 0
        assert store.finish(claim, JobStatus.SUCCESS, result={"n": 1})
        assert claimed(other).job.id == waiting.id
        assert store.result(job.id) == {"n": 1}


def _refuses(store: Store) -> bool:
    try:
        store.check()
    except StoreError as error:
        return "read-only" in str(error)
    return False
