"""A PostgreSQL of the tests' own: an ordinary user's, in a temporary folder, without a port."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import members.postgres
import psycopg
import pytest
from members.program import ProgramError

from toolrunner.runner.jobs.postgres.schema import migrate
from toolrunner.runner.settings.database_url import DatabaseUrl

_TEMPLATE = "template_of_tests"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip where there are none."""
    try:
        return members.postgres.programs()
    except ProgramError as error:
        pytest.skip(str(error))


class Postgres(members.postgres.Postgres):
    """One server. ``url`` is of its first database, by its administrator."""

    def __init__(self, folder: Path, bin_folder: Path, *, is_shared: bool = False) -> None:
        """``is_shared``: another process has started it, and holds it."""
        super().__init__(folder, bin_folder)
        self._is_shared = self._has_template = is_shared

    @contextmanager
    def database(self, *, is_migrated: bool = True) -> Iterator[str]:
        """Make a database, as ``toolrunner migrate`` leaves it or empty; it goes afterwards."""
        if is_migrated and not self._has_template:
            self.make_template()
        name = f"test_{uuid.uuid4().hex}"
        self._execute(
            f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if is_migrated else 'template0'}"
        )
        try:
            yield self.url(name)
        finally:
            if not (self.runs or self._is_shared):  # a test has stopped it
                self.start()
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self) -> None:
        """Make what migrated databases are copies of."""
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(DatabaseUrl(self.url(_TEMPLATE)))
        self._has_template = True

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server that ends with the block, and leaves nothing."""
    bin_folder = programs()
    # Short, since a socket's path is, and where an ordinary user can get.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="postgres-") as name:
        folder = Path(name)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        server = Postgres(folder / "p", bin_folder)
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()
