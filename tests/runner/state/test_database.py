"""The files of a state folder, opened by several processes at once."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from toolrunner.runner.state.database import open_database, transaction

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT);"
PROCESSES = 8


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """As workers do when a server starts for the first time: none of them fails."""
    for round_number in range(20):
        path = tmp_path / f"{round_number}.sqlite3"
        reader, writer = os.pipe()
        children = []
        for _ in range(PROCESSES):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    os.close(writer)
                    os.read(reader, 1)  # all begin when the last one is there
                    open_database(path, SCHEMA, version=1, synchronous="NORMAL", busy_seconds=20)
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        os.close(reader)
        os.close(writer)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    path = tmp_path / "x.sqlite3"
    open_database(path, SCHEMA, version=1, synchronous="FULL", busy_seconds=1).close()
    with pytest.raises(OSError, match="move it away"):
        open_database(path, SCHEMA, version=2, synchronous="FULL", busy_seconds=1)


def test_a_file_that_has_all_is_not_written_to(tmp_path: Path) -> None:
    """It is opened while another connection writes, and one that lacks something gets it."""
    path = tmp_path / "x.sqlite3"
    options: dict[str, Any] = {"version": 1, "synchronous": "FULL", "busy_seconds": 0}
    more = f"{SCHEMA} CREATE INDEX IF NOT EXISTS by_name ON things (name);"
    with closing(open_database(path, SCHEMA, **options)) as writer, transaction(writer):
        open_database(path, SCHEMA, **options).close()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            open_database(path, more, **options)
    with closing(open_database(path, more, **options)) as database:
        names = {name for [name] in database.execute("SELECT name FROM sqlite_master")}
    assert names == {"things", "by_name"}
