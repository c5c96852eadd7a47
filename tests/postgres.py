"""A PostgreSQL of the tests' own: an ordinary user's, in a temporary folder, without a port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from toolrunner.runner.jobs.postgres.schema import migrate
from toolrunner.runner.settings.database_url import DatabaseUrl

# initdb wants to know what the user is called that runs it.
ORDINARY = "nobody"
_READY = b"database system is ready to accept connections"
_TEMPLATE = "template_of_tests"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip where there are none."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        pytest.skip(f"initdb runs for no user without a name (uid {os.geteuid()})")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not installed")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


class Postgres:
    """One server. ``url`` is of its first database, by its administrator."""

    def __init__(self, folder: Path, bin_folder: Path, *, is_shared: bool = False) -> None:
        """``is_shared``: another process has started it, and holds it."""
        self.folder = folder
        self._bin = bin_folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_shared = self._has_template = is_shared

    def url(self, database: str = "postgres", *, user: str = "toolrunner") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def make(self) -> None:
        """Make its files."""
        data = str(self.folder / "data")
        command = [str(self._bin / "initdb"), "-D", data, "-U", "toolrunner", "-A", "trust"]
        subprocess.run(
            [*self._ordinary(), *command, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
        )

    def start(self, *options: str) -> None:
        """Start it, and return when it answers."""
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
        command += ["-k", str(self.folder)]
        quick = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]
        process = subprocess.Popen(
            [*self._ordinary(), *command, *quick, *options],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd="/",
            # Not its parent's, which a Ctrl-C would end before those who use it.
            process_group=0,
        )
        self._process = process
        self.log = ""
        answers = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(process, answers), daemon=True)
        self._reader.start()
        answers.wait()
        assert process.poll() is None, f"PostgreSQL did not start:\n{self.log}"

    def _read(self, process: subprocess.Popen[bytes], answers: threading.Event) -> None:
        """Read what it says, to its end."""
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                self.log += line.decode("utf-8", "replace")
                if _READY in line:
                    answers.set()
        process.wait()
        answers.set()

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: by SIGINT without waiting for who is connected, by SIGQUIT as by a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._reader.join()
        self._process = None

    @contextmanager
    def database(self, *, is_migrated: bool = True) -> Iterator[str]:
        """Make a database, as ``toolrunner migrate`` leaves it or empty; it goes afterwards."""
        if is_migrated and not self._has_template:
            self.make_template()
        name = f"test_{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if is_migrated else 'template0'}")
        try:
            yield self.url(name)
        finally:
            if self._process is None and not self._is_shared:  # a test has stopped it
                self.start()
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self) -> None:
        """Make what migrated databases are copies of."""
        self._run(f"CREATE DATABASE {_TEMPLATE}")
        migrate(DatabaseUrl(self.url(_TEMPLATE)))
        self._has_template = True

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _ordinary(self) -> list[str]:
        """Return what a command begins with: it never runs as root, and ends with the tests."""
        command = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam(ORDINARY)
            command += ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid)]
            command.append("--clear-groups")
        return command


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server that ends with the block, and leaves nothing."""
    bin_folder = programs()
    # Short, since a socket's path is, and where an ordinary user can get.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, ORDINARY)
        server = Postgres(folder, bin_folder)
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()
